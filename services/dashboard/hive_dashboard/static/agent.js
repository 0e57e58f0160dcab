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
  document.addEventListener("htmx:beforeSwap", (event) => {
    const further = event.detail.target.closest?.(".further");
    if (!further) return;
    const log = stream();
    const seen = further.dataset.further === "before" ? firstSeen(log) : null;
    held = seen && { log, seen, top: seen.getBoundingClientRect().top };
    parts += 1;
  });
  document.addEventListener("htmx:afterSwap", () => {
    if (held) held.log.scrollTop += held.seen.getBoundingClientRect().top - held.top;
    held = undefined;
    watch();
  });

  // --- the open stream stays small: what is far above leaves it, and is fetched again when it is scrolled to ---
  const older = (log) => {
    let further = log.querySelector(":scope > .further[data-further=before]");
    if (further) return further;
    further = document.createElement("p");
    further.className = "further";
    further.dataset.further = "before";
    const link = document.createElement("a");
    link.textContent = "Older";
    for (const [name, value] of [["hx-trigger", "near once, click"], ["hx-target", "closest .further"], ["hx-swap", "outerHTML"]]) link.setAttribute(name, value);
    further.append(link);
    log.prepend(further);
    return further;
  };
  const pointAt = (log, event) => {
    const further = older(log);
    const fresh = further.cloneNode(true);
    const link = fresh.querySelector("a");
    link.href = `/agents/${log.dataset.agent}?before=${event}`;
    link.setAttribute("hx-get", `/agents/${log.dataset.agent}/turns?before=${event}`);
    delete fresh.dataset.watched;
    watcher.get(log)?.unobserve(further);
    further.replaceWith(fresh);
    htmx.process(fresh);
  };
  const { atEnd, forget } = window.hive;
  let tidying = false;
  const tidy = () => {
    tidying = false;
    const log = stream();
    if (!log?.matches("[data-stick]") || !atEnd(log)) return;
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
    if (cut) { first.removeAttribute("id"); first.classList.add("turn-part"); }
    pointAt(log, cut && left ? left.id.slice(2) : first.dataset.first);
    parts = 0;
    watch();
    log.scrollTop = log.scrollHeight;
  };
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    const log = event.target.closest("#turns");
    if (!log || atEnd(log) || log.querySelectorAll(".row").length < ROWS_HELD) return;
    log.dataset.behind = "yes"; // nothing of it is lost: the page anew has it
    event.preventDefault();
  });
  document.addEventListener("htmx:sseMessage", (event) => {
    if (!event.target.closest("#turns") || tidying) return;
    tidying = true;
    setTimeout(tidy, 30); // no frame: a page in the background has none, and must stay small too
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-news=turns]") && stream()?.dataset.behind) location.assign(location.pathname);
  });

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
