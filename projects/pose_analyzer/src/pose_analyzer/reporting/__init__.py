"""Sessions for people and programs: files, tables, plots, pictures.

In: a `Session`, or a frame with its measurements. Out: `result.json` and its tables on disk, the formats of other tools, a
summary for the terminal, plots, an annotated image, two videos side by side.
"""

from pose_analyzer.reporting.export import EXPORT_FORMATS, ExportFormat, ExportOptions, export_session
from pose_analyzer.reporting.files import load_session, result_schema, save_session, session_to_dict
from pose_analyzer.reporting.overlay import PersonStatus, draw_overlay
from pose_analyzer.reporting.people import ChoiceError, FramePeople, frames_of, main_track, poses_of, to_supervision, to_ultralytics
from pose_analyzer.reporting.plots import plot_session, save_plot
from pose_analyzer.reporting.tables import summary_table

__all__ = [
    "EXPORT_FORMATS",
    "ChoiceError",
    "ExportFormat",
    "ExportOptions",
    "FramePeople",
    "PersonStatus",
    "draw_overlay",
    "export_session",
    "frames_of",
    "load_session",
    "main_track",
    "plot_session",
    "poses_of",
    "result_schema",
    "save_plot",
    "save_session",
    "session_to_dict",
    "summary_table",
    "to_supervision",
    "to_ultralytics",
]
