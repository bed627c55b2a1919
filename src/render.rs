//! Reports and the catalogue as text, JSON, JUnit and Markdown.
