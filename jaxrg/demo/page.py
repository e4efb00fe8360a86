"""The page: its look, its summary, and the pieces its sections are made of."""

import html
from collections.abc import Sequence

from jaxrg.demo.text import Verdict

TITLE = "jaxrg: from samples to a renormalised Hamiltonian"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222;
  overflow-wrap: break-word; }}
h1, h2 {{ line-height: 1.25; }}
h2 {{ margin-top: 2.5rem; }}
.wide {{ overflow-x: auto; margin: 1rem 0; }}
table {{ border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }}
caption {{ text-align: left; font-weight: bold; padding: 0.2rem 0.6rem; }}
th, td {{ padding: 0.2rem 0.6rem; text-align: right; vertical-align: top; border-bottom: 1px solid #ddd;
  white-space: nowrap; }}
thead th {{ vertical-align: bottom; border-bottom: 2px solid #999; white-space: normal; }}
.text {{ text-align: left; }}
.summary td, .summary th {{ text-align: left; white-space: normal; }}
.summary .answer {{ white-space: nowrap; }}
.yes {{ color: #00664a; }} .no {{ color: #a33c00; }} .unknown {{ color: #555; }}
summary {{ cursor: pointer; }}
img {{ max-width: 100%; height: auto; }}
figcaption, .small {{ color: #555; font-size: 0.85rem; }}
figure {{ margin: 1rem 0; }}
ul.verdicts {{ padding-left: 1.2rem; }}
@media (max-width: 40rem) {{
  body {{ margin: 1rem auto; }}
  figure img {{ max-width: none; width: 44rem; }}
  .summary tr, .summary td {{ display: block; border: 0; padding: 0; }}
  .summary thead {{ display: none; }}
  .summary tr {{ border-bottom: 1px solid #ddd; padding: 0.5rem 0; }}
}}
</style></head><body>
{body}
</body></html>
"""


def figure_html(name: str, caption: str) -> str:
    """A figure, which opens alone in its full size; ``caption`` is plain text."""
    text = html.escape(caption)
    image = f'<a href="{html.escape(name)}"><img src="{html.escape(name)}" alt="{text}"></a>'
    return f'<figure><div class="wide">{image}</div><figcaption>{text}</figcaption></figure>'


def _class(verdict: Verdict) -> str:
    return {True: "yes", False: "no", None: "unknown"}[verdict.is_yes]


def section_html(name: str, title: str, verdicts: Sequence[Verdict], shown: str) -> str:
    """A chapter: its title, its questions with their answers, and what it shows (HTML)."""
    answers = "".join(
        f'<li>{html.escape(verdict.question)} <b class="{_class(verdict)}">{verdict.answer}</b>: '
        f"{html.escape(verdict.numbers)}.</li>"
        for verdict in verdicts
    )
    return f'<section id="{name}"><h2>{html.escape(title)}</h2><ul class="verdicts">{answers}</ul>{shown}</section>'


def summary_html(chapters: Sequence[tuple[str, Sequence[Verdict]]]) -> str:
    """The questions of all chapters with their answers and numbers, each with the way to its chapter."""
    rows = "".join(
        f'<tr><td><a href="#{name}">{html.escape(verdict.question)}</a></td>'
        f'<td class="answer"><b class="{_class(verdict)}">{verdict.answer}</b></td>'
        f"<td>{html.escape(verdict.numbers)}</td></tr>"
        for name, verdicts in chapters
        for verdict in verdicts
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("question", "answer", "numbers"))
    return (
        f'<h2>Summary</h2><table class="summary"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        '<p class="small">Answers follow from the numbers beside them. Numbers in brackets are standard errors of the '
        "last digits; differences count from two standard errors on.</p>"
    )


def page_html(intro: str, summary: str, sections: Sequence[str]) -> str:
    """The whole page, of pieces of HTML."""
    body = f"<h1>{html.escape(TITLE)}</h1>{intro}{summary}{''.join(sections)}"
    return _PAGE.format(title=html.escape(TITLE), body=body)
