"""What a person looks at: tables, figures, and the HTML gallery.

Belongs here: turning finished scores and videos into files. Does not belong here: computing a
score (`onaspr_core.evaluation`). Nothing here loads a model.
"""
