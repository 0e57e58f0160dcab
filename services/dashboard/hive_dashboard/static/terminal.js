/* The terminal: bytes of the agent's container go to xterm.js and nowhere else; what is typed goes back. */
(() => {
  "use strict";
  const frame = document.getElementById("terminal");
  const said = document.getElementById("terminal-said");
  const again = document.getElementById("terminal-again");

  // xterm.js makes style elements; the page's policy lets in those that carry its word
  const make = document.createElement.bind(document);
  document.createElement = (name, options) => {
    const element = make(name, options);
    if (String(name).toLowerCase() === "style") element.nonce = frame.dataset.nonce;
    return element;
  };

  const css = getComputedStyle(document.documentElement);
  const term = new Terminal({
    fontFamily: css.getPropertyValue("--mono"),
    fontSize: 13,
    scrollback: 5000,
    theme: { background: "#15181b", foreground: "#e6e3da", cursor: "#f0b232" },
    // a link's words and its address are the container's: it leads nowhere
    linkHandler: { activate: () => {} },
  });
  const fit = new FitAddon.FitAddon();
  term.loadAddon(fit);
  term.open(frame);
  fit.fit();

  const TRIES = 25;
  let socket, session, tries = 0, over = false;
  const size = () => JSON.stringify({ columns: Math.max(2, term.cols), lines: Math.max(2, term.rows) });
  const close = (words) => { over = true; said.textContent = words; again.hidden = false; };
  const isRefused = () => fetch(location.pathname).then(({ status, redirected }) => redirected || (status >= 400 && status < 500), () => false);
  const join = (joined) => {
    said.textContent = session && session !== joined ? "Connected to a new shell: the one before has ended." : "Connected.";
    session = joined;
    tries = 0;
    term.reset(); // all that is still there comes again
    socket.send(size());
  };
  const open = () => {
    const address = new URL(frame.dataset.socket, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(size());
    socket.onmessage = ({ data }) => {
      if (typeof data !== "string") return term.write(new Uint8Array(data));
      const { joined, ended } = JSON.parse(data);
      if (ended) { session = undefined; close(`Closed: ${ended}.`); } else join(joined);
    };
    socket.onclose = async () => {
      if (over) return;
      said.textContent = "The connection is lost; what runs in it goes on. Reconnecting…";
      if (await isRefused()) close("Closed: it is turned off, or you are signed out. Reload the page.");
      else if (tries >= TRIES) close("It cannot be reached. Is the agent running?");
      else setTimeout(open, Math.min(4000, 250 * 2 ** tries++));
    };
  };
  const send = (data) => { if (socket?.readyState === WebSocket.OPEN) socket.send(data); };
  const encoder = new TextEncoder();
  term.onData((text) => send(encoder.encode(text)));
  term.onBinary((text) => send(Uint8Array.from(text, (char) => char.charCodeAt(0))));
  term.onResize(() => send(size()));
  new ResizeObserver(() => fit.fit()).observe(frame);

  // keys that leave the terminal, so that a keyboard is not caught in it
  let escaped = 0;
  term.attachCustomKeyEventHandler((event) => {
    if (event.type !== "keydown" || event.key !== "Escape") return true;
    const now = Date.now();
    if (now - escaped < 400) { term.blur(); again.hidden ? said.closest("header").querySelector("form button").focus() : again.focus(); return false; }
    escaped = now;
    return true;
  });
  // for screen readers, which xterm.js serves at the price of typing by composition: off unless asked for
  const reader = document.getElementById("terminal-reader");
  const read = (on) => { term.options.screenReaderMode = on; reader.setAttribute("aria-pressed", on); localStorage.setItem("terminal-reader", on ? "on" : ""); };
  reader.addEventListener("click", () => read(!term.options.screenReaderMode));
  read(localStorage.getItem("terminal-reader") === "on");

  again.addEventListener("click", () => { over = false; tries = 0; again.hidden = true; open(); term.focus(); });
  open();
  term.focus();
})();
