/* What the server cannot do: ages that move on, work in hand that stays through every update, a title that counts. */
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
  let current;
  htmx.createEventSource = (address) => {
    const last = seen.get(address);
    const source = new EventSource(last ? address.replace(/([?&]after=)[^&]*/, `$1${last}`) : address);
    addressOf.set(source, address);
    current = source;
    return source;
  };
  // what left the page listens until it hears something: an event that nobody else hears ends that, and frees it
  const forget = (gone) => {
    for (const one of gone.querySelectorAll("[sse-swap]")) current?.dispatchEvent(new MessageEvent(one.getAttribute("sse-swap")));
  };
  const linkState = (since) => {
    const element = document.getElementById("link-state");
    if (!element) return;
    element.hidden = !since;
    if (since) document.getElementById("link-since").textContent = since.toLocaleTimeString();
  };
  let warning, lost;
  document.addEventListener("htmx:sseError", () => {
    lost ??= new Date();
    warning ??= setTimeout(() => linkState(lost), 1500);
  });
  document.addEventListener("htmx:sseOpen", () => { clearTimeout(warning); warning = lost = undefined; linkState(); });

  // --- logs: stay at the end when there, else say how much is new ---
  const missed = new WeakMap();
  const AWAY_MS = 250;
  const away = new WeakSet(); // logs that are read further back: to ask each time lays out thousands of rows for each that comes
  const atEnd = (log) => {
    if (away.has(log)) return false;
    if (log.scrollHeight - log.scrollTop - log.clientHeight < 40) return true;
    away.add(log);
    setTimeout(() => away.delete(log), AWAY_MS);
    return false;
  };
  const toEnd = (log) => { away.delete(log); log.scrollTop = log.scrollHeight; tell(log, 0); };
  const tell = (log, count) => {
    missed.set(log, count);
    const button = document.querySelector(`[data-news="${log.id}"]`);
    if (!button) return;
    button.hidden = count === 0;
    button.textContent = log.dataset.behind === "gap" ? "↓ Newest" : `↓ ${count} new`; // nobody counted what a gap left out
  };
  const followLogs = () => {
    for (const log of document.querySelectorAll("[data-stick]")) {
      if (log.dataset.followed) continue;
      log.dataset.followed = "yes";
      if (!log.dataset.behind) toEnd(log);
      log.addEventListener("scroll", () => { away.delete(log); if (atEnd(log) && !log.dataset.behind) tell(log, 0); }, { passive: true });
    }
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-news]");
    if (button) toEnd(document.getElementById(button.dataset.news));
  });

  const notifyButton = () => {
    const button = document.querySelector("[data-notify]");
    const said = document.querySelector("[data-notify-said]");
    if (!button || !("Notification" in window)) return;
    const on = Notification.permission === "granted" && localStorage.getItem("hive-notify") === "on";
    button.hidden = Notification.permission === "denied";
    button.textContent = on ? "Turn off" : "Turn on";
    said.textContent = button.hidden ? "This browser refuses them for this address; allow them in its own settings." : on ? "On in this browser." : "Off in this browser.";
    button.onclick = async () => {
      if (on) localStorage.removeItem("hive-notify");
      else if ((await Notification.requestPermission()) === "granted") localStorage.setItem("hive-notify", "on");
      notifyButton();
    };
  };

  // --- what the operator is in the middle of survives a swap: words, choices, focus, selection, folds, scroll ---
  const keyOf = (element, root) => {
    if (element.id) return [`#${CSS.escape(element.id)}`, 0];
    const holder = element.parentElement.closest("[id]");
    const within = holder && root.contains(holder) ? `#${CSS.escape(holder.id)} ` : "";
    const kind = element.tagName.toLowerCase() + (element.name ? `[name="${CSS.escape(element.name)}"]` : "");
    const value = /^(radio|checkbox)$/.test(element.type) ? `[value="${CSS.escape(element.value)}"]` : "";
    const selector = within + kind + value;
    return [selector, [...root.querySelectorAll(selector)].indexOf(element)];
  };
  const changed = (field) => {
    if (field.type === "hidden") return false;
    if (field.matches("select")) return [...field.options].some((option) => option.selected !== option.defaultSelected);
    return /^(radio|checkbox)$/.test(field.type) ? field.checked !== field.defaultChecked : field.value !== field.defaultValue;
  };
  // words that are marked, to be copied: in what, where they begin, and what they are
  const marked = (root) => {
    const selection = window.getSelection();
    if (!selection.rangeCount || selection.isCollapsed) return null;
    const range = selection.getRangeAt(0);
    const common = range.commonAncestorContainer;
    if (!root.contains(common)) return null;
    const holder = (common.closest ? common : common.parentElement).closest("[id]");
    const ahead = document.createRange();
    ahead.setStart(holder, 0);
    ahead.setEnd(range.startContainer, range.startOffset);
    return { within: holder.id, from: ahead.toString().length, text: range.toString() };
  };
  const mark = ({ within, from, text }) => {
    const root = document.getElementById(within);
    if (root?.textContent.slice(from, from + text.length) !== text) return;
    const range = document.createRange();
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    let passed = 0, begun = false;
    while (walker.nextNode()) {
      const node = walker.currentNode, end = passed + node.length;
      if (!begun && from < end) { range.setStart(node, from - passed); begun = true; }
      if (from + text.length <= end) { range.setEnd(node, from + text.length - passed); break; }
      passed = end;
    }
    window.getSelection().removeAllRanges();
    window.getSelection().addRange(range);
  };
  // what is worked on, else what stands at the top of the window, to stand there again; several, as the first may be gone
  const inView = (root) => [document.activeElement.closest("#main [id]"), ...root.querySelectorAll("[id]:not([hidden], [data-stick] *)")]
    .map((one) => [one?.id, one?.getBoundingClientRect()])
    .filter(([, box]) => box?.height && box.top >= 0 && box.top < innerHeight)
    .slice(0, 20);
  const keep = (root) => {
    const active = document.activeElement;
    const inside = root.contains(active) && active !== root;
    return {
      fields: [...root.querySelectorAll("input, textarea, select")].filter(changed).map((field) => [keyOf(field, root), field.value, field.checked]),
      folds: [...root.querySelectorAll("details")].filter((fold) => fold.closest("[id]")).map((fold) => [keyOf(fold, root), fold.open]),
      scrolls: [...root.querySelectorAll("[id]")].filter((one) => one.scrollTop).map((one) => [keyOf(one, root), one.scrollTop]),
      focus: inside ? keyOf(active, root) : null,
      range: inside && active.selectionStart != null ? [active.selectionStart, active.selectionEnd] : null,
      marked: marked(root),
      top: window.scrollY,
      seen: root.id === "main" && window.scrollY ? inView(root) : [],
    };
  };
  const restore = (root, kept) => {
    const find = ([selector, place]) => root.querySelectorAll(selector)[place] || document.querySelectorAll(selector)[place];
    for (const [key, value, checked] of kept.fields) {
      const field = find(key);
      if (!field) continue;
      if (/^(radio|checkbox)$/.test(field.type)) field.checked = checked;
      else if (!field.matches("select") || [...field.options].some((option) => option.value === value)) field.value = value;
    }
    for (const [key, open] of kept.folds) { const fold = find(key); if (fold && fold.open !== open) fold.open = open; }
    for (const [key, top] of kept.scrolls) { const one = find(key); if (one) one.scrollTop = top; }
    const focused = kept.focus && find(kept.focus);
    if (focused) {
      focused.focus({ preventScroll: true });
      if (kept.range && focused.setSelectionRange) focused.setSelectionRange(...kept.range);
    }
    if (kept.marked) mark(kept.marked);
    if (window.scrollY !== kept.top) window.scrollTo({ top: kept.top, behavior: "instant" });
    const [id, box] = kept.seen.find(([one]) => document.getElementById(one)) || [];
    if (id) window.scrollBy({ top: document.getElementById(id).getBoundingClientRect().top - box.top, behavior: "instant" });
  };

  // the page anew, after a gap: as it is addressed now, filters and all
  let before;
  document.addEventListener("htmx:configRequest", (event) => {
    if (event.target.id === "main") event.detail.path = location.pathname + location.search;
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, shouldSwap } = event.detail;
    if (shouldSwap && target.matches("#main, [data-renews]")) before = { id: target.id, kept: keep(target) };
  });
  // until it comes, what is shown is old: nothing else tells of it any more
  const AGAIN_MS = 2000;
  const again = (event) => {
    if (event.target.id !== "main" || event.detail.xhr?.status in { 401: 1, 403: 1, 404: 1 }) return;
    linkState(lost ??= new Date());
    setTimeout(() => htmx.trigger(document.getElementById("main"), "sse:reset"), AGAIN_MS);
  };
  for (const failed of ["sendError", "timeout", "responseError"]) document.addEventListener(`htmx:${failed}`, again);
  document.addEventListener("htmx:afterSwap", () => {
    const root = before && document.getElementById(before.id);
    if (root) restore(root, before.kept);
    before = undefined;
  });

  // figures that renew themselves do so while somebody looks
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (!document.hidden || !event.target.matches("[data-renews]")) return;
    event.target.dataset.stale = "yes";
    event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    for (const one of document.hidden ? [] : document.querySelectorAll("[data-stale]")) {
      delete one.dataset.stale;
      htmx.trigger(one, "renew");
    }
  });

  const TURNS_KEPT = 200, ROWS_KEPT = 60, SETTLED_MS = 12000;
  const inserts = (target) => /^(before|after)(begin|end)$/.test(target.getAttribute("hx-swap") || "");
  let stuck = false, held;
  const note = ({ lastEventId, currentTarget, target: source }) => {
    const address = addressOf.get(source || currentTarget);
    if (address && lastEventId) seen.set(address, lastEventId);
  };
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    note(event.detail); // also of what is held back
    const log = event.target.closest("[data-stick]");
    stuck = Boolean(log) && atEnd(log);
    if (log && !stuck && inserts(event.target)) tell(log, (missed.get(log) || 0) + 1);
    held = inserts(event.target) ? undefined : keep(event.target);
    if (event.target.id === "flow") known = new Set([...event.target.children].map((row) => row.id));
  });
  document.addEventListener("htmx:sseMessage", (event) => {
    const { target } = event;
    note(event.detail);
    if (held) restore(target, held);
    held = undefined;
    const log = target.closest("[data-stick]");
    if (log && stuck) {
      while (log.children.length > TURNS_KEPT) { const first = log.firstElementChild; first.remove(); forget(first); }
      toEnd(log);
    }
    if (target.id === "flow") sift(target);
    if (target.id === "flow" || target.id === "inbox") {
      target.firstElementChild?.classList.add("is-new");
      while (target.children.length > ROWS_KEPT) target.lastElementChild.remove();
    }
    if (target.id === "needs") { once(target); announce(target.lastElementChild); }
    if (target.querySelector(":scope > .settled")) setTimeout(() => clear(target.closest(".need")), SETTLED_MS);
    if (target.matches("[data-of]")) counts();
    if (!log) tick();
  });

  // --- rows that are there twice, or that the filter leaves out, go again ---
  let known = new Set();
  const once = (list) => {
    const ids = new Set();
    for (const item of [...list.children]) ids.has(item.id) ? item.remove() : ids.add(item.id);
  };
  const sift = (flow) => {
    const { agent, kind } = flow.dataset;
    for (const row of [...flow.children]) {
      if (known.delete(row.id)) continue;
      const fits = (!agent || row.dataset.of.split(" ").includes(agent)) && (!kind || row.dataset.kinds.split(" ").includes(kind));
      if (!fits) row.remove();
    }
    once(flow);
  };

  // --- what is settled leaves the queue after a while, never under the operator's hand ---
  const clear = (need) => {
    if (!need?.querySelector(".settled")) return;
    const list = need.parentElement;
    if (list?.matches(":hover, :focus-within")) setTimeout(() => clear(need), SETTLED_MS);
    else need.remove();
  };

  // --- title, favicon and links count what waits ---
  const number = (what) => Number(document.getElementById(`${what}-count`)?.textContent || 0);
  const counts = () => {
    const main = document.getElementById("main");
    if (!document.getElementById("needs-count") || !main) return;
    const needs = number("needs");
    document.title = (needs ? `(${needs}) ` : number("unread") ? "• " : "") + main.dataset.title;
    const icon = document.getElementById("icon");
    const shape = needs ? icon.dataset.needs : icon.dataset.calm;
    if (icon.getAttribute("href") !== shape) icon.setAttribute("href", shape);
    for (const pill of document.querySelectorAll("[data-count]")) {
      const count = number(pill.dataset.count);
      pill.textContent = count;
      pill.hidden = !count;
    }
    const dead = document.getElementById("nav-dead");
    if (dead) dead.hidden = !number("dead") && !dead.hasAttribute("aria-current");
  };

  // --- notifications, where this browser was told to give them ---
  const announce = (need) => {
    const wanted = "Notification" in window && Notification.permission === "granted" && localStorage.getItem("hive-notify") === "on";
    if (!wanted || !need || document.hasFocus()) return;
    const note = new Notification("hyperhive", { body: need.dataset.title, tag: need.id, icon: document.getElementById("icon").dataset.needs });
    note.onclick = () => { window.focus(); location.hash = need.id; note.close(); };
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

  // --- a form does a thing once, shows that it works, and always comes back ---
  const formOf = (element) => (element.matches?.("form") ? element : element.closest?.("form"));
  const posts = (form) => form?.method === "post";
  const busy = (form, button) => {
    form.setAttribute("aria-busy", "true");
    button?.classList.add("is-working");
  };
  const free = (form) => {
    form.removeAttribute("aria-busy");
    for (const button of form.querySelectorAll(".is-working")) button.classList.remove("is-working");
  };
  document.addEventListener("htmx:confirm", (event) => {
    const form = formOf(event.detail.elt);
    if (posts(form) && form.getAttribute("aria-busy")) event.preventDefault();
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    const form = formOf(event.detail.elt);
    const button = event.detail.elt.matches("button") ? event.detail.elt : event.detail.requestConfig.triggeringEvent?.submitter;
    if (posts(form)) busy(form, button);
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const form = formOf(event.detail.elt);
    if (posts(form)) free(form);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!posts(form) || form.hasAttribute("hx-post")) return;
    if (form.getAttribute("aria-busy")) event.preventDefault();
    else busy(form, event.submitter);
  });
  window.addEventListener("pageshow", () => document.querySelectorAll("form[aria-busy]").forEach(free));

  const complain = (words) => (event) => {
    if (event.target.matches?.("#main, [data-renews]")) return;
    const said = event.target.querySelector?.(".compose-said") || document.getElementById("flash");
    if (!said) return;
    const line = document.createElement("p");
    line.className = "flash flash-bad";
    line.textContent = words;
    said.replaceChildren(said.id === "flash" ? line : words);
    said.classList.toggle("is-error", said.id !== "flash");
  };
  const silence = "The dashboard does not answer. Nothing that you wrote is lost: try again.";
  document.addEventListener("htmx:sendError", complain(silence));
  document.addEventListener("htmx:timeout", complain(silence));
  document.addEventListener("htmx:responseError", complain("The dashboard refused this; reload the page and try again."));

  const settle = () => { followLogs(); counts(); notifyButton(); tick(); };
  document.addEventListener("DOMContentLoaded", settle);
  let settling;
  document.addEventListener("htmx:afterSettle", (event) => {
    if (!event.target.closest?.("[data-stick]")) return settle();
    settling ??= setTimeout(() => { settling = undefined; settle(); }, 50); // a stream settles with each row
  });
  window.hive = { atEnd, forget, tell };
})();
