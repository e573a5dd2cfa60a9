"""Maps src/ to the package `september`; pyproject alone cannot rename and discover at once."""

from setuptools import find_packages, setup

setup(
    packages=[
        "september",
        "september.migrations",
        "september.catalog",
        *(f"september.{name}" for name in find_packages("src")),
    ]
)
