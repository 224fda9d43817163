"""Build the pages of a language with Sphinx."""

import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

import plainformer
from plainformer.base import UserError
from walkthrough.site.language import LANGUAGES, Language

HERE = Path(__file__).parent


def build_pages(language: Language, sources: Path, downloads: Path, out: Path) -> None:
    """Build the pages of a language.

    Raises:
        UserError: Sphinx warns of something; what, it has printed.
    """
    html = sources.parent / "html"  # beside it, MyST-NB leaves a folder of its own
    with patch_docutils(), docutils_namespace():
        app = Sphinx(
            srcdir=sources,
            confdir=None,
            outdir=html,
            doctreedir=sources.parent / "doctrees",
            buildername="html",
            confoverrides=_config(language),
            status=None,
            warningiserror=True,
            freshenv=True,
        )
        app.build(force_all=True)
    if app.statuscode:
        raise UserError(f"the {language.name} site has faults: see the warnings above")
    leftovers = shutil.ignore_patterns("_sources", ".buildinfo", "objects.inv")
    shutil.copytree(html, out, ignore=leftovers, dirs_exist_ok=True)
    shutil.copytree(downloads, out / "notebooks")


def _config(language: Language) -> dict[str, Any]:
    """Return Sphinx's configuration."""
    (other,) = (found for found in LANGUAGES if found is not language)
    return {
        "project": "Plainformer",
        "version": plainformer.__version__,
        "language": language.locale,
        "html_search_language": language.code,
        "extensions": [
            "myst_nb",
            "sphinx.ext.autodoc",
            "walkthrough.site.extension",
        ],
        "suppress_warnings": ["myst.xref_missing", "ref.python"],  # check.py follows all links
        "default_role": "code",
        "nb_execution_mode": "off",
        "nb_output_stderr": "remove",
        "nb_merge_streams": True,
        "myst_enable_extensions": ["dollarmath"],
        "myst_heading_anchors": 3,
        "html_math_renderer": "mathml",
        "autodoc_member_order": "bysource",
        "autodoc_typehints_format": "short",
        "autodoc_preserve_defaults": True,
        "python_maximum_signature_line_length": 70,
        "add_module_names": False,
        "toc_object_entries_show_parents": "hide",
        "templates_path": [str(HERE / "templates")],
        "html_theme": "furo",
        "html_title": language.words["title"],
        "html_short_title": language.words["title"],
        "html_static_path": [str(HERE / "static")],
        "html_context": {"words": language.words, "other": other},
        "html_theme_options": {"top_of_page_buttons": []},
        "html_show_copyright": False,
        "html_show_search_summary": False,  # it fetches pages, which a folder does not allow
        "html_copy_source": False,
        "html_domain_indices": False,
    }
