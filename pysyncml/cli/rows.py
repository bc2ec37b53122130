"""For programs with thousands of rows: many at once, as it is done with the state's own."""

from pysyncml.state.bulk import delete_rows, insert_rows, select_rows, update_rows

__all__ = ['delete_rows', 'insert_rows', 'select_rows', 'update_rows']
