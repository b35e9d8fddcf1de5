"""The demo model: its glossary, its training, its export and its evaluation."""
