/* The keyboard: the palette (Ctrl-K), single keys where they are wanted, and @names in the compose box. */
(() => {
  "use strict";
  const PLACES = { h: "/", m: "/messages", q: "/questions", a: "/approvals", d: "/dead-letters", s: "/settings", r: "/retention" };
  const ITEMS = "[data-item]";
  const typing = (element) => element.matches?.("input, textarea, select, [contenteditable]");
  const make = (tag, fields = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), fields);
    element.append(...children);
    return element;
  };

  // --- a list of which one is chosen by the keyboard while the focus stays in a field ---
  const choose = (field, options, place) => {
    options.forEach((option, index) => option.setAttribute("aria-selected", String(index === place)));
    const chosen = options[place];
    if (chosen) {
      field.setAttribute("aria-activedescendant", chosen.id);
      chosen.scrollIntoView({ block: "nearest" });
    } else field.removeAttribute("aria-activedescendant");
  };
  const chosenOf = (options) => options.findIndex((option) => option.getAttribute("aria-selected") === "true");
  const fits = (text, wanted) => {
    let at = 0;
    for (const letter of wanted) { at = text.indexOf(letter, at) + 1; if (!at) return false; }
    return true;
  };

  // --- the palette: what /palette lists, narrowed while typing ---
  let palette;
  const closePalette = () => palette?.close();
  const openPalette = async () => {
    if (palette?.open) return closePalette();
    const field = make("input", { type: "search", placeholder: "Go to…", autocomplete: "off", spellcheck: false });
    field.setAttribute("role", "combobox");
    for (const [name, value] of [["aria-label", "Go to"], ["aria-expanded", "true"], ["aria-controls", "palette-options"], ["aria-autocomplete", "list"]]) field.setAttribute(name, value);
    const list = make("div", { id: "palette-options" });
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "Places");
    palette?.remove();
    palette = make("dialog", { className: "palette" }, field, list);
    palette.setAttribute("aria-label", "Find");
    document.body.append(palette);
    palette.addEventListener("click", (event) => { if (event.target === palette) closePalette(); });
    palette.showModal();
    let options = [];
    const narrow = () => {
      const wanted = field.value.trim().toLowerCase();
      for (const option of options) option.hidden = !fits(option.textContent.toLowerCase(), wanted);
      const shown = options.filter((option) => !option.hidden);
      shown.sort((a, b) => !a.dataset.name.startsWith(wanted) - !b.dataset.name.startsWith(wanted));
      choose(field, options, options.indexOf(shown[0]));
    };
    field.addEventListener("input", narrow);
    field.addEventListener("keydown", (event) => {
      const shown = options.filter((option) => !option.hidden);
      const now = chosenOf(shown);
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        const next = (now + (event.key === "ArrowDown" ? 1 : shown.length - 1)) % shown.length;
        choose(field, options, options.indexOf(shown[next]));
      }
      if (event.key === "Enter" && shown[now]) { event.preventDefault(); shown[now].click(); }
    });
    try {
      const page = new DOMParser().parseFromString(await (await fetch("/palette")).text(), "text/html");
      options = [...page.querySelectorAll("#places a")].map((link, index) => {
        const option = make("a", { href: link.getAttribute("href"), id: `palette-${index}`, tabIndex: -1 }, ...link.childNodes);
        option.setAttribute("role", "option");
        option.dataset.name = link.dataset.name || "";
        return option;
      });
      list.replaceChildren(...options);
      narrow();
    } catch { list.replaceChildren(make("p", { className: "hint", textContent: "The dashboard does not answer." })); }
  };

  // --- help ---
  const help = () => {
    const rows = [["Ctrl K", "find a page or an agent"], ["j  k", "next, previous item"], ["Enter", "open it"], ["c", "write"], ["n", "what needs you"], ["g h", "hive"], ["g m", "messages"], ["g q", "questions"], ["g a", "approvals"], ["g d", "dead letters"], ["g r", "retention"], ["g s", "settings"], ["Esc", "close"], ["?", "this help"]];
    const table = make("dl", { className: "key-list" }, ...rows.map(([keys, words]) => make("div", {}, make("dt", {}, ...keys.split(/ +/).flatMap((key) => [make("kbd", { textContent: key }), " "])), make("dd", { textContent: words }))));
    const dialog = make("dialog", { className: "palette key-help" }, make("h2", { textContent: "Keys" }), table, make("p", { className: "hint", textContent: "Settings turn single keys off." }));
    dialog.setAttribute("aria-label", "Keys");
    dialog.addEventListener("close", () => dialog.remove());
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    document.body.append(dialog);
    dialog.tabIndex = -1;
    dialog.showModal();
  };

  // --- j and k: from item to item ---
  const step = (by) => {
    const items = [...document.querySelectorAll(ITEMS)].filter((item) => item.offsetParent);
    if (!items.length) return;
    const now = items.indexOf(document.activeElement?.closest(ITEMS));
    const next = items[Math.min(items.length - 1, Math.max(0, now < 0 ? (by > 0 ? 0 : items.length - 1) : now + by))];
    next.tabIndex = -1;
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };
  const first = (selector) => {
    const element = document.querySelector(selector);
    if (element) { element.focus(); element.scrollIntoView({ block: "nearest" }); }
  };

  let going;
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      openPalette();
      return;
    }
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (typing(event.target) || document.querySelector("dialog[open]") || document.documentElement.dataset.keys === "off") return;
    const { key } = event;
    if (going) {
      clearTimeout(going);
      going = undefined;
      if (PLACES[key]) location.assign(PLACES[key]);
    } else if (key === "g") going = setTimeout(() => { going = undefined; }, 1200);
    else if (key === "j") step(1);
    else if (key === "k") step(-1);
    else if (key === "?") help();
    else if (key === "c") { event.preventDefault(); first("#compose textarea, .compose textarea"); }
    else if (key === "n") { document.querySelector("#needs > li")?.setAttribute("tabindex", "-1"); first("#needs > li"); }
    else if (key === "Enter" && event.target.matches(ITEMS)) event.target.querySelector("a[href]")?.click();
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-palette]");
    if (!link || event.ctrlKey || event.metaKey || event.button) return;
    event.preventDefault();
    openPalette();
  });

  // --- @names: at the beginning they choose the recipient, elsewhere they are completed ---
  let names;
  const closeNames = () => { names?.list.remove(); names?.field.removeAttribute("aria-activedescendant"); names = undefined; };
  const wordBefore = (field) => /(^|\s)@([a-z0-9-]*)$/.exec(field.value.slice(0, field.selectionStart));
  const showNames = (field) => {
    const found = wordBefore(field);
    const select = field.form.querySelector("select[name=to]");
    if (!found || !select) return closeNames();
    const all = [...select.options].map((option) => [option.value, option.value === "*" ? "everyone" : option.value]).filter(([value]) => value);
    const fitting = all.filter(([, name]) => name.startsWith(found[2])).slice(0, 8);
    if (!fitting.length) return closeNames();
    closeNames();
    const list = make("div", { className: "names", id: `${field.id}-names` });
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "Agents");
    const options = fitting.map(([value, name], index) => {
      const option = make("div", { id: `${list.id}-${index}`, textContent: `@${name}` });
      option.setAttribute("role", "option");
      option.dataset.value = value;
      option.addEventListener("mousedown", (event) => { event.preventDefault(); takeName(option); });
      return option;
    });
    list.append(...options);
    field.after(list);
    field.setAttribute("aria-controls", list.id);
    names = { field, list, options, select };
    choose(field, options, 0);
  };
  const takeName = (option) => {
    const { field, select } = names;
    const found = wordBefore(field);
    const from = field.selectionStart - found[2].length - 1;
    const rest = field.value.slice(field.selectionStart);
    if (!field.value.slice(0, from).trim()) {
      select.value = option.dataset.value;
      select.classList.add("is-new");
      field.setRangeText("", 0, field.value.length - rest.replace(/^\s+/, "").length, "end");
    } else field.setRangeText(`${option.textContent} `, from, field.selectionStart, "end");
    closeNames();
  };
  document.addEventListener("input", (event) => { if (event.target.matches("[data-mentions]")) showNames(event.target); });
  document.addEventListener("focusout", (event) => { if (event.target === names?.field) closeNames(); });
  document.addEventListener("keydown", (event) => {
    if (!names || event.target !== names.field) return;
    const now = chosenOf(names.options), count = names.options.length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") choose(names.field, names.options, (now + (event.key === "ArrowDown" ? 1 : count - 1)) % count);
    else if ((event.key === "Enter" || event.key === "Tab") && !event.ctrlKey && !event.metaKey) takeName(names.options[now]);
    else if (event.key === "Escape") closeNames();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }, true);
})();
