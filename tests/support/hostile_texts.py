"""Texts with which an agent tries to be more than text, and the look through a page that finds what got through.

One corpus for every page: put the texts wherever an agent may write, open the page in the browser, and hold it to
`page.evaluate(FINDINGS) == []`. `OWNED` is what a script of theirs would leave behind.
"""

from dataclasses import dataclass
from typing import Final

OWNED: Final = "owned-by-an-agent"


@dataclass(frozen=True, slots=True)
class Hostile:
    """`shown` is a part of what the operator sees in its place, where that is not the text itself."""

    name: str
    text: str
    shown: str = ""


_SET: Final = f"document.title='{OWNED}'"

MARKUP: Final = (
    Hostile("script", f"<script>{_SET}</script>"),
    Hostile("script in capitals, split", f"<ScRiPt\n>{_SET}</sCrIpT\t>"),
    Hostile("image with a handler", f'<img src=x onerror="{_SET}">'),
    Hostile("image of another site", '<img src="http://evil.example/beacon.png?who=operator">'),
    Hostile("drawing with a handler", f'<svg onload="{_SET}"><a xlink:href="javascript:{_SET}">x</a></svg>'),
    Hostile("out of an attribute", f'" autofocus tabindex=0 onfocus="{_SET}" x="'),
    Hostile("out of an attribute, single", f"' onmouseover=\"{_SET}\" x='"),
    Hostile("out of a text area and a pre", f"</textarea></pre></details></main><h1>{OWNED}</h1><hr>"),
    Hostile("out of a comment", f"--><script>{_SET}</script><!--"),
    Hostile("out of a title", f"</title><script>{_SET}</script>"),
    Hostile("frame", f'<iframe srcdoc="&lt;script&gt;parent.{_SET}&lt;/script&gt;"></iframe>'),
    Hostile("form of its own", '<form action="/agents/hm1nd/destroy" method=post><button>Approve</button></form>'),
    Hostile("htmx request", '<div hx-post="/agents/hm1nd/stop" hx-trigger="load" hx-swap="none">x</div>'),
    Hostile("htmx stream", '<div sse-connect="/stream?page=home" sse-swap="flow" data-hx-get="/sign-out">x</div>'),
    Hostile("style", '<style>body{display:none}</style><p style="position:fixed;inset:0">cover</p>'),
    Hostile(
        "redirect", '<meta http-equiv="refresh" content="0;url=http://evil.example/"><base href="//evil.example/">'
    ),
    Hostile("entities", f"&lt;script&gt;{_SET}&lt;/script&gt; &#x3c;b&#x3e;"),
    Hostile("template", "{{ 7 * 7 }} {% raw %} ${7*7} #{7*7} <%= 7*7 %>"),
    Hostile("half a tag", "<b"),
    Hostile("mutation", f'<noscript><p title="</noscript><img src=x onerror={_SET}>">'),
    Hostile("mathematics", f"<math><mtext><table><mglyph><style><img src=x onerror={_SET}>"),
)

LINKS: Final = (
    Hostile("script scheme", f"[click](javascript:{_SET})"),
    Hostile("script scheme in disguise", f"[click](JaVa&#x09;ScRiPt:{_SET}) [click](java\tscript:{_SET})"),
    Hostile("data scheme", f"[click](data:text/html,<script>{_SET}</script>) <data:text/html;base64,PGI+>"),
    Hostile("other schemes", "[a](vbscript:x) [b](file:///etc/passwd) [c](ssh://-oProxyCommand=x) [d](blob:x)"),
    Hostile("automatic link", f"<javascript:{_SET}> javascript:{_SET}"),
    Hostile("reference", f"[a][b]\n\n[b]: javascript:{_SET} 'x'"),
    Hostile("picture", f"![a](javascript:{_SET}) ![b](http://evil.example/beacon.png)"),
    Hostile("name that claims to be another", "[https://claude.ai](https://evil.example/login)"),
    Hostile("name and password in an address", "https://claude.ai@evil.example/ //evil.example/x"),
    Hostile("out of Markdown", f'[a](http://x.example "onmouseover={_SET}") [b](http://x"onclick={_SET})'),
    Hostile("code fence with a name", f'```"><img src=x onerror={_SET}>\ncode\n```'),
    Hostile("own pages", "[Approve](/sign-out) [answer](//evil.example) [x](/\\evil.example)"),
)

TERMINAL: Final = (
    Hostile("colour", "\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
    Hostile("title", f"\x1b]0;{OWNED}\x07", "␛]0;"),
    Hostile("clipboard", "\x1b]52;c;cm0gLXJmIC8K\x07", "␛]52;"),
    Hostile("hyperlink", f"\x1b]8;;javascript:{_SET}\x1b\\click\x1b]8;;\x1b\\", "␛]8;;"),
    Hostile("clear and go home", "\x1b[2J\x1b[Hnothing was here", "␛[2J␛[H"),
    Hostile("one-byte escape", "a\x9b31mb", "a‹U+009B›31mb"),
    Hostile("line written over", "harmless\rrm -rf /", "harmless␍rm"),
    Hostile("backspaces", "safe\b\b\b\bevil", "safe␈␈␈␈evil"),
    Hostile("null", "a\0b", "a␀b"),
)

DIRECTION: Final = (
    Hostile("override", "invoice\u202egpj.exe", "invoice‹U+202E›gpj.exe"),
    Hostile("isolates", "if \u2066admin\u2069 \u2067x\u2069", "‹U+2066›admin‹U+2069›"),
    Hostile("Trojan Source", "access = 'user\u202e \u2066// only for admin\u2069 \u2066'", "‹U+202E›"),
    Hostile("marks", "a\u200eb\u200fc\u061cd", "a‹U+200E›b‹U+200F›c‹U+061C›d"),
    Hostile("name with nothing in it", "hm1\u200bnd", "hm1‹U+200B›nd"),
    Hostile("byte order mark", "\ufeffhi", "‹U+FEFF›hi"),
    Hostile("hidden tags", "ok\U000e0041\U000e007f", "ok‹U+E0041›‹U+E007F›"),
    Hostile("blank letter", "a\u3164b", "a‹U+3164›b"),
    Hostile("soft hyphens and joiners", "ad\u00admin\u034fistrator", "ad‹U+00AD›min‹U+034F›istrator"),
    Hostile("annotations", "user\ufff9root\ufffa", "user‹U+FFF9›root‹U+FFFA›"),
    Hostile("letters without a shape", "\u115fa\u17b4b\uffa0", "‹U+115F›a‹U+17B4›b‹U+FFA0›"),
    Hostile("stacked accents", "Z" + "\u0335" * 60, "Z" + "\u0335" * 4),
)

SHAPES: Final = (
    Hostile("frame of the stream", "data: x\n\nevent: reset\ndata: y\n\nid: 0.0\n"),
    Hostile("one long word", "long" * 500),
    Hostile("many lines", "line\n" * 300, "line"),
    Hostile("deep", "[" * 400 + ">" * 400 + "- " * 200),
    Hostile("blank", " \n\t \n", " "),
    Hostile("half a surrogate", "a\ud800b", "a\ufffdb"),
)

HOSTILE: Final = (*MARKUP, *LINKS, *TERMINAL, *DIRECTION, *SHAPES)

FINDINGS: Final = """() => {
  const found = [];
  if (document.title.startsWith("%(owned)s")) found.push("a script of theirs ran");
  const obeyed = new RegExp("[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u200b\\u200e\\u200f"
    + "\\u2060-\\u206f\\u202a-\\u202e\\ufeff\\u061c\\u3164\\u00ad\\u034f\\u115f\\u1160\\u17b4\\u17b5\\u180e\\uffa0"
    + "\\ufff0-\\ufffb\\u{e0000}-\\u{e0fff}]", "u");
  if (obeyed.test(document.title)) found.push("obeyed characters in the title");
  const own = (address) => {
    try { return new URL(address, location.href).origin === location.origin; } catch { return false; }
  };
  const plain = new Set(["http:", "https:", "mailto:"]);
  for (const element of document.querySelectorAll("*")) {
    const name = element.localName;
    const what = element.outerHTML.slice(0, 120);
    if (["iframe", "object", "embed", "base", "math", "style", "audio", "video"].includes(name)) found.push(what);
    if (name === "h1" && element.textContent.trim() === "%(owned)s") found.push(what);
    if (name === "script" && !element.src) found.push(what);
    if (name === "meta" && element.httpEquiv) found.push(what);
    for (const { name: attribute, value } of element.attributes) {
      if (obeyed.test(value)) found.push(`obeyed characters in ${attribute}: ${JSON.stringify(value.slice(0, 80))}`);
      if (/^on/i.test(attribute) || attribute === "style" || attribute === "srcdoc") found.push(what);
      if (/^(data-)?hx-(get|post|put|patch|delete)$|^sse-connect$/.test(attribute) && !own(value)) found.push(what);
      if (!/^(href|xlink:href|src|action|formaction|poster|background)$/.test(attribute)) continue;
      let scheme = "none";
      try { scheme = new URL(value, location.href).protocol; } catch { /* no address at all */ }
      const image = name === "img" || (name === "link" && scheme === "data:");
      if (!plain.has(scheme) && !image) found.push(what);
      if (name !== "a" && scheme !== "data:" && !own(value)) found.push(what);
      if (name === "a" && plain.has(scheme) && scheme !== "mailto:" && !own(value)
          && !/noopener|noreferrer/.test(element.rel)) found.push(what);
    }
  }
  for (const form of document.forms) {
    const ours = form.elements.csrf || form.getAttribute("hx-post") === form.getAttribute("action");
    if (form.method === "post" && !ours && form.getAttribute("action") !== "/sign-in")
      found.push(form.outerHTML.slice(0, 120));
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    if (obeyed.test(node.data)) found.push(`obeyed characters: ${JSON.stringify(node.data.slice(0, 80))}`);
  return found;
}""" % {"owned": OWNED}  # noqa: UP031 - braces are the script's
"""What on the open page is more than text: a JavaScript function for `page.evaluate`, which gives a list of it."""
