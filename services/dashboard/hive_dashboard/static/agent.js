/* An agent's page: history that comes in as it is scrolled to, a stream that stays small, and commands completed. */
(() => {
  "use strict";
  const ROWS_KEPT = 400, TURNS_KEPT = 150, ROWS_HELD = 4000, PARTS_BY_ITSELF = 30;
  const stream = () => document.getElementById("turns");

  // --- further parts are fetched when they are near; after many, only when asked for ---
  let parts = 0;
  const watcher = new WeakMap();
  const watch = () => {
    const log = stream();
    if (!log) return;
    if (!watcher.has(log)) {
      watcher.set(log, new IntersectionObserver((entries) => {
        for (const entry of entries) {
          if (!entry.isIntersecting || parts >= PARTS_BY_ITSELF) continue;
          watcher.get(log).unobserve(entry.target);
          htmx.trigger(entry.target.querySelector("a"), "near");
        }
      }, { root: log, rootMargin: "900px 0px" }));
    }
    for (const further of log.querySelectorAll(":scope > .further:not([data-watched])")) {
      further.dataset.watched = "yes";
      watcher.get(log).observe(further);
    }
  };

  // --- what is being read stays where it is when something comes in above it ---
  let held;
  const firstSeen = (log) => {
    const top = log.getBoundingClientRect().top;
    for (const turn of log.querySelectorAll(":scope > article")) {
      if (turn.getBoundingClientRect().bottom <= top) continue;
      const row = [...turn.querySelectorAll(":scope > .rows > .row")].find((one) => one.getBoundingClientRect().bottom > top);
      return row || turn;
    }
    return null;
  };
  const place = (log) => {
    const seen = firstSeen(log);
    return seen && { seen, top: seen.getBoundingClientRect().top - log.getBoundingClientRect().top };
  };
  const putBack = (log, { seen, top }) => { log.scrollTop += seen.getBoundingClientRect().top - log.getBoundingClientRect().top - top; };
  document.addEventListener("htmx:beforeSwap", (event) => {
    const further = event.detail.target.closest?.(".further");
    if (!further) return;
    held = further.dataset.further === "before" ? place(stream()) : null;
    parts += 1;
  });
  document.addEventListener("htmx:afterSwap", () => {
    if (held) putBack(stream(), held);
    held = undefined;
    watch();
    catchUp();
  });

  // --- the open stream stays small: what is far above leaves it, and is fetched again when it is scrolled to ---
  const ADDRESS = { before: "before", after: "at" };
  const furtherOf = (log, how) => log.querySelector(`:scope > .further[data-further=${how}]`);
  const pointAt = (log, how, event) => {
    const further = document.createElement("p");
    further.className = "further";
    further.dataset.further = how;
    const link = document.createElement("a");
    link.textContent = how === "before" ? "Older" : "Newer";
    link.href = `/agents/${log.dataset.agent}?${ADDRESS[how]}=${event}`;
    for (const [name, value] of [["get", `/agents/${log.dataset.agent}/turns?${how}=${event}`], ["trigger", "near once, click"], ["target", "closest .further"], ["swap", "outerHTML"]]) link.setAttribute(`hx-${name}`, value);
    further.append(link);
    const former = furtherOf(log, how);
    if (former) { watcher.get(log)?.unobserve(former); former.remove(); }
    log[how === "before" ? "prepend" : "append"](further);
    htmx.process(further);
  };
  const { atEnd, forget, tell } = window.hive;
  let tidying = false;
  const tidy = () => {
    tidying = false;
    const log = stream();
    if (!log?.matches("[data-stick]") || log.dataset.behind || !atEnd(log)) return;
    let rows = log.querySelectorAll(".row").length;
    let turns = log.querySelectorAll(":scope > article").length;
    if (rows <= ROWS_KEPT * 1.25 && turns <= TURNS_KEPT) return;
    while ((rows > ROWS_KEPT || turns > TURNS_KEPT) && turns > 1) {
      const first = log.querySelector(":scope > article");
      rows -= first.querySelectorAll(".row").length;
      turns -= 1;
      first.remove();
      forget(first);
    }
    const first = log.querySelector(":scope > article");
    const own = [...first.querySelectorAll(":scope > .rows > .row")];
    for (const row of own.slice(0, Math.max(0, rows - ROWS_KEPT))) { row.remove(); forget(row); }
    const left = first.querySelector(":scope > .rows > .row[id^='e-']");
    const cut = own.length && own[0] !== first.querySelector(":scope > .rows > .row");
    if (cut) { for (const one of [first, first.querySelector(":scope > .turn-head")]) one.removeAttribute("id"); first.classList.add("turn-part"); }
    pointAt(log, "before", cut && left ? left.id.slice(2) : first.dataset.first);
    parts = 0;
    watch();
    log.scrollTop = log.scrollHeight;
  };
  document.addEventListener("htmx:sseMessage", (event) => {
    if (!event.target.closest("#turns") || tidying) return;
    tidying = true;
    setTimeout(tidy, 30); // no frame: a page in the background has none, and must stay small too
  });

  // --- a stream that is read back may fall behind: it has what it had, then a way to what came after, until its end is reached ---
  const order = (id) => id.split("-").map(Number);
  const later = (one, other) => { const [a, b] = [order(one), order(other)]; return a[0] - b[0] || a[1] - b[1]; };
  const lastOf = (log) => [...log.querySelectorAll("[id^='e-']")].map((one) => one.id.slice(2)).concat([...log.querySelectorAll(":scope > article")].map((one) => one.dataset.first)).sort(later).at(-1);
  const fallBehind = (log, why) => {
    if (log.dataset.behind) return;
    log.dataset.behind = why;
    for (const open of log.querySelectorAll(".turn-open")) open.textContent = "goes on";
    for (const partial of log.querySelectorAll(".partial")) partial.replaceChildren();
    const last = lastOf(log);
    if (last && !furtherOf(log, "after")) pointAt(log, "after", last);
    watch();
  };
  const anew = (log) => {
    log.dataset.left = "yes";
    htmx.trigger(document.getElementById("main"), "sse:reset");
  };
  const reached = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const catchUp = () => {
    const log = stream();
    if (log?.dataset.behind && !log.dataset.left && !furtherOf(log, "after") && reached(log)) anew(log);
  };
  document.addEventListener("scroll", (event) => { if (event.target.id === "turns") catchUp(); }, { capture: true, passive: true });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-news=turns]") && stream()?.dataset.behind) anew(stream());
  });
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    const log = event.target.closest("#turns");
    if (!log) return;
    if (!log.dataset.behind && !atEnd(log) && log.querySelectorAll(".row").length >= ROWS_HELD) fallBehind(log, "full");
    if (log.dataset.behind) event.preventDefault();
  });

  // --- the page is drawn anew while the stream is read back: what is read goes over into the new page ---
  let read;
  document.addEventListener("htmx:beforeSwap", (event) => {
    const log = event.detail.target.id === "main" && stream();
    const live = log && log.matches("[data-stick]");
    if (!log || !event.detail.shouldSwap || log.dataset.left || (live && reached(log))) return;
    const nodes = document.createDocumentFragment();
    const at = place(log);
    nodes.append(...log.childNodes); // taken out before htmx forgets what they listen to
    read = { nodes, at, live, why: log.dataset.behind };
  });
  document.addEventListener("htmx:afterSwap", () => {
    const log = read && stream();
    if (!log) return;
    const { nodes, at, live, why } = read;
    read = undefined;
    parts = 0;
    log.replaceChildren(nodes);
    for (const further of log.querySelectorAll(":scope > .further")) delete further.dataset.watched;
    if (why) log.dataset.behind = "gap";
    else if (live) fallBehind(log, "gap");
    if (live) tell(log, 1);
    const again = () => { if (at) putBack(log, at); };
    again();
    requestAnimationFrame(again); // turns that are drawn only when they are seen have their size now
  }, { capture: true });

  // --- commands: a line that begins with a slash is completed with Tab ---
  const list = () => document.getElementById("slash");
  const field = (target) => (target.matches?.("#compose-body") && list() ? target : null);
  let chosen = -1;
  const fitting = (text) => {
    const typed = /^\/([a-z-]*)$/.exec(text);
    return typed ? [...list().children].filter((option) => option.dataset.name.startsWith(typed[1])) : [];
  };
  const show = (area) => {
    const options = fitting(area.value);
    for (const option of list().children) {
      option.hidden = !options.includes(option);
      option.setAttribute("aria-selected", String(options.indexOf(option) === chosen && chosen >= 0));
    }
    list().hidden = options.length === 0;
    if (options[chosen]) area.setAttribute("aria-activedescendant", options[chosen].id);
    else area.removeAttribute("aria-activedescendant");
    return options;
  };
  const take = (area, option) => {
    area.value = `/${option.dataset.name}${option.dataset.field ? " " : ""}`;
    chosen = -1;
    list().hidden = true;
    area.focus();
  };
  const common = (names) => {
    let length = 0;
    while (names.every((name) => name.length > length && name[length] === names[0][length])) length += 1;
    return names[0].slice(0, length);
  };
  document.addEventListener("input", (event) => {
    const area = field(event.target);
    if (!area) return;
    chosen = -1;
    show(area);
  });
  document.addEventListener("keydown", (event) => {
    const area = field(event.target);
    if (!area || list().hidden || event.isComposing) return;
    const options = fitting(area.value);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && options.length) {
      chosen = (chosen + step + options.length + (chosen < 0 && step < 0 ? 1 : 0)) % options.length;
      show(area);
    } else if (event.key === "Tab" && !event.shiftKey && options.length) {
      const prefix = common(options.map((option) => option.dataset.name));
      if (options[chosen] || options.length === 1) take(area, options[chosen] || options[0]);
      else if (`/${prefix}` !== area.value) { area.value = `/${prefix}`; show(area); }
      else { chosen = 0; show(area); }
    } else if (event.key === "Enter" && options[chosen] && !event.ctrlKey && !event.metaKey) {
      take(area, options[chosen]);
    } else if (event.key === "Escape") {
      list().hidden = true;
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }, true);
  document.addEventListener("mousedown", (event) => {
    const option = event.target.closest("#slash [role=option]");
    if (!option) return;
    event.preventDefault();
    take(document.getElementById("compose-body"), option);
  });
  document.addEventListener("focusout", (event) => { if (field(event.target)) list().hidden = true; });

  document.addEventListener("DOMContentLoaded", () => {
    const log = stream();
    if (log && !log.matches("[data-stick]") && !location.hash && location.search.includes("before=")) log.scrollTop = log.scrollHeight;
    watch();
  });
  document.addEventListener("htmx:afterSettle", watch);
})();
