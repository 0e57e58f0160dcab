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

  let socket, tries = 0, over = false;
  const size = () => JSON.stringify({ columns: Math.max(2, term.cols), lines: Math.max(2, term.rows) });
  const open = () => {
    const address = new URL(frame.dataset.socket, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    let joined = false;
    socket.onopen = () => socket.send(size());
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") {
        over = true;
        said.textContent = `Closed: ${JSON.parse(data).ended}.`;
        return;
      }
      if (!joined) {
        joined = true;
        tries = 0;
        term.reset();
        said.textContent = "Connected.";
        socket.send(size());
      }
      term.write(new Uint8Array(data));
    };
    socket.onclose = () => {
      if (over || tries >= 6) {
        if (!over) said.textContent = "The terminal cannot be reached; is the agent running, and are you signed in?";
        again.hidden = false;
        return;
      }
      said.textContent = "Reconnecting…";
      setTimeout(open, Math.min(8000, 250 * 2 ** tries++));
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
