"""Sessions for people and programs: files, tables, plots, pictures.

In: a `Session`, or a frame with its measurements. Out: `result.json` and its tables on disk, a summary
for the terminal, an angle plot, an annotated image.
"""

from pose_analyzer.reporting.files import load_session, result_schema, save_session, session_to_dict
from pose_analyzer.reporting.overlay import PersonStatus, draw_overlay
from pose_analyzer.reporting.people import main_track
from pose_analyzer.reporting.plots import plot_session, save_plot
from pose_analyzer.reporting.tables import summary_table

__all__ = [
    "PersonStatus",
    "draw_overlay",
    "load_session",
    "main_track",
    "plot_session",
    "result_schema",
    "save_plot",
    "save_session",
    "session_to_dict",
    "summary_table",
]
