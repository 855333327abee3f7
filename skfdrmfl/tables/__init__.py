"""Tables in files: text, workbooks and Parquet, how they are laid out, and what their cells say."""
