"""The text of a PDF comes page by page; a PDF that cannot be read says why and hurts nobody."""

from september.brain.media.pdf import pdf_text

from .samples import document


async def test_the_text_comes_page_by_page() -> None:
    found = await pdf_text(document("The first page", "The second page"))
    assert [text.strip() for text in found.texts] == ["The first page", "The second page"]
    assert (found.pages, found.problem) == (2, "")


async def test_a_document_behind_a_password_says_so() -> None:
    found = await pdf_text(document("secret", password="hush"))
    assert found.texts == ()
    assert "password" in found.problem


async def test_what_is_no_pdf_is_a_problem_and_not_a_crash() -> None:
    for data in (b"", b"hello", b"%PDF-1.7\n" + bytes(2000), document("cut off")[:300]):
        found = await pdf_text(data)
        assert "cannot be read" in found.problem or found.texts == ()


async def test_only_the_first_thousand_pages_are_read() -> None:
    found = await pdf_text(document(*["page"] * 1002))
    assert (len(found.texts), found.pages) == (1000, 1002)
    assert "first 1000 pages" in found.problem
