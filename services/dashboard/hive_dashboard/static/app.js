/* What the server cannot do: ages that move on, a scroll position that stays, a title that counts. */
(() => {
  "use strict";

  // --- ages, in the words of render.relative ---
  const words = (seconds) => {
    for (const [limit, size, unit] of [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"]]) {
      if (seconds < limit) return `${Math.max(0, Math.floor(seconds / size))} ${unit}`;
    }
    return `${Math.floor(seconds / 86400)} d`;
  };
  const tick = () => {
    if (document.hidden) return;
    const now = Date.now();
    for (const time of document.querySelectorAll("time[data-age]")) {
      const text = words((now - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
    for (const time of document.querySelectorAll("time[data-left]")) {
      const text = words(Math.max(0, (Date.parse(time.dateTime) - now) / 1000));
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", tick);

  // --- the connection: go on where we were, say when it is away ---
  const seen = new Map(); // address of a stream → id of the last event from it
  const addressOf = new WeakMap();
  htmx.createEventSource = (address) => {
    const last = seen.get(address);
    const source = new EventSource(last ? address.replace(/([?&]after=)[^&]*/, `$1${last}`) : address);
    addressOf.set(source, address);
    return source;
  };
  const linkState = (shown) => {
    const element = document.getElementById("link-state");
    if (element) element.hidden = !shown;
  };
  let away;
  document.addEventListener("htmx:sseError", () => { away ??= setTimeout(() => linkState(true), 1500); });
  document.addEventListener("htmx:sseOpen", () => { clearTimeout(away); away = undefined; linkState(false); });

  // --- logs: stay at the end when there, else say how much is new ---
  const missed = new WeakMap();
  const atEnd = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const toEnd = (log) => { log.scrollTop = log.scrollHeight; tell(log, 0); };
  const tell = (log, count) => {
    missed.set(log, count);
    const button = document.querySelector(`[data-news="${log.id}"]`);
    if (!button) return;
    button.hidden = count === 0;
    button.textContent = `↓ ${count} new`;
  };
  const followLogs = () => {
    for (const log of document.querySelectorAll("[data-stick]")) {
      if (log.dataset.followed) continue;
      log.dataset.followed = "yes";
      toEnd(log);
      log.addEventListener("scroll", () => { if (atEnd(log)) tell(log, 0); }, { passive: true });
    }
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-news]");
    if (button) toEnd(document.getElementById(button.dataset.news));
  });

  // --- before and after each swap from the stream ---
  const TURNS_KEPT = 200, ROWS_KEPT = 60;
  const chosen = new WeakMap();
  let stuck = false;
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    const log = event.target.closest("[data-stick]");
    stuck = Boolean(log) && atEnd(log);
    if (event.target.matches("select[data-keep]")) chosen.set(event.target, event.target.value);
  });
  document.addEventListener("htmx:sseMessage", (event) => {
    const { target } = event;
    const { lastEventId, currentTarget, target: source } = event.detail;
    const address = addressOf.get(source || currentTarget);
    if (address && lastEventId) seen.set(address, lastEventId);
    const log = target.closest("[data-stick]");
    if (log && stuck) {
      while (log.children.length > TURNS_KEPT) log.firstElementChild.remove();
      toEnd(log);
    } else if (log) {
      tell(log, (missed.get(log) || 0) + 1);
    }
    if (target.id === "flow" || target.id === "inbox") {
      target.firstElementChild?.classList.add("is-new");
      while (target.children.length > ROWS_KEPT) target.lastElementChild.remove();
    }
    if (chosen.has(target)) target.value = chosen.get(target);
    if (target.id === "unread") title();
    if (target.id === "dead" || target.id === "pending") counts();
  });

  // --- the title counts unread mail ---
  const title = () => {
    const main = document.getElementById("main");
    const unread = Number(document.getElementById("unread")?.textContent || 0);
    if (main?.dataset.title) document.title = (unread ? `(${unread}) ` : "") + main.dataset.title;
  };

  // --- links that show how many there are; the one to dead letters only when there are some ---
  const counts = () => {
    for (const what of ["dead", "pending"]) {
      const link = document.getElementById(`nav-${what}`);
      const count = Number(document.getElementById(what)?.textContent || 0);
      const pill = link?.querySelector(".pill");
      if (!pill) continue;
      pill.textContent = count;
      pill.hidden = !count;
      if (what === "dead") link.hidden = !count && !link.hasAttribute("aria-current");
    }
  };

  // --- forms: Ctrl-Enter sends; an opened confirmation closes when its work is done ---
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches(".compose textarea")) {
      event.preventDefault();
      event.target.form.requestSubmit();
    }
    if (event.key === "Escape") for (const box of document.querySelectorAll("details.confirm[open]")) box.open = false;
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const box = event.target.closest?.("details.confirm");
    if (box) box.open = false;
  });
  const complain = (words) => (event) => {
    const said = event.target.querySelector?.(".compose-said") || document.getElementById("flash");
    if (!said) return;
    said.classList.add("is-error");
    said.textContent = words;
  };
  document.addEventListener("htmx:sendError", complain("The dashboard does not answer; what you wrote is kept, try again."));
  document.addEventListener("htmx:responseError", complain("The dashboard refused this; reload the page and try again."));

  const settle = () => { followLogs(); title(); counts(); tick(); };
  document.addEventListener("DOMContentLoaded", settle);
  document.addEventListener("htmx:afterSettle", settle);
})();
