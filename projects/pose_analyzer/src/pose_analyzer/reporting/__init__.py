"""Sessions for people and programs: files, tables, plots, pictures.

In: a `Session`, or a frame with its measurements. Out: `result.json` and its tables on disk, the formats of other tools, a
summary for the terminal, plots, an annotated image, two videos side by side.
"""

from pose_analyzer.reporting.cues import FormCues
from pose_analyzer.reporting.export import EXPORT_FORMATS, ExportFormat, ExportOptions, export_session
from pose_analyzer.reporting.files import load_session, result_schema, save_session, session_to_dict
from pose_analyzer.reporting.overlay import PersonStatus, draw_overlay
from pose_analyzer.reporting.people import (
    ChoiceError,
    FramePeople,
    exercise_of,
    frames_of,
    main_track,
    person_rows,
    poses_of,
    skeleton_of,
    to_supervision,
    to_ultralytics,
)
from pose_analyzer.reporting.plot_form import FormCell, form_cells, plot_form
from pose_analyzer.reporting.plot_path import plot_path
from pose_analyzer.reporting.plot_reference import ComparedCurves, plot_reference
from pose_analyzer.reporting.plot_style import ThemeName, write_png
from pose_analyzer.reporting.plots import plot_range, plot_session, save_plot, title_of
from pose_analyzer.reporting.side_by_side import Align, Side, SideBySide
from pose_analyzer.reporting.tables import summary_table

__all__ = [
    "EXPORT_FORMATS",
    "Align",
    "ChoiceError",
    "ComparedCurves",
    "ExportFormat",
    "ExportOptions",
    "FormCell",
    "FormCues",
    "FramePeople",
    "PersonStatus",
    "Side",
    "SideBySide",
    "ThemeName",
    "draw_overlay",
    "exercise_of",
    "export_session",
    "form_cells",
    "frames_of",
    "load_session",
    "main_track",
    "person_rows",
    "plot_form",
    "plot_path",
    "plot_range",
    "plot_reference",
    "plot_session",
    "poses_of",
    "result_schema",
    "save_plot",
    "save_session",
    "session_to_dict",
    "skeleton_of",
    "summary_table",
    "title_of",
    "to_supervision",
    "to_ultralytics",
    "write_png",
]
