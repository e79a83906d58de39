"""The pages of the console: templates whose every value is escaped, and what protects them.

Style and script are files of their own, and nothing else can run or load.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from labkit.console import words
from labkit.console.guard import CSRF
from labkit.console.words import WORDS

_FOLDER = Path(__file__).parent / "pages"
#: The headers of every answer of the console.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
#: name → content type of the files beside the pages.
FILES = {"console.css": "text/css", "console.js": "text/javascript"}


class Pages:
    """Renders pages.

    Args:
        csrf: the token of their forms.
    """

    def __init__(self, csrf: str) -> None:
        self._pages = Environment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._pages.globals.update(
            languages=WORDS,
            csrf=csrf,
            csrf_field=CSRF,
            clock=words.clock,
            title_of=words.title_of,
            problem_of=words.problem_of,
            next_try=words.next_try,
            buttons=words.buttons,
        )

    def render(self, name: str, language: str, **values: object) -> str:
        """Render a page as HTML.

        Args:
            name: of the template.
            language: of the page.
            values: of the template; `query` is what its links carry on.
        """
        page = self._pages.get_template(f"{name}.html")
        return page.render(words=WORDS[language], language=language, **values)


def read_file(name: str) -> str:
    """Read a file beside the pages."""
    return (_FOLDER / name).read_text(encoding="utf-8")
