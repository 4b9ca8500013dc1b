"""What the user wishes: the file as a text, and beside it a form that writes lines into it."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from gpupanel import paths
from gpupanel.policy.key import PolicyKey, Value
from gpupanel.policy.resolve import EffectivePolicy
from gpupanel.policy.wishes import WishFile, with_wish
from gpupanel.ui.theme import Tone
from gpupanel.ui.widgets.policy.editor import WishEditor
from gpupanel.ui.widgets.policy.wish_form import WishForm
from gpupanel.ui.widgets.text import Text


class WishesView(QWidget):
    """Made when it is first opened: checking a text costs an import that nobody else needs."""

    def __init__(self) -> None:
        super().__init__()
        self.editor = WishEditor(WishFile(paths.user_policy_file()))
        self.form = WishForm()
        self.form.setFixedWidth(292)
        self.form.wished.connect(self._put)
        self.editor.checked.connect(self.form.allow)
        said = Text(
            self.tr(
                "Your own limits can only tighten what the administrator allows. A looser one has "
                "no effect, and the list of what is in force says so. Only this file is written, "
                "with your rights; the agent obeys it within seconds."
            ),
            tone=Tone.SECONDARY, wrap=True,
        )  # fmt: skip
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addWidget(self.editor, 1)
        row.addWidget(self.form)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(said)
        column.addLayout(row, 1)
        self.editor.reload()

    def show_policy(self, policy: EffectivePolicy) -> None:
        """Show another policy."""
        self.form.show_policy(policy)

    def _put(self, key: PolicyKey, value: Value) -> None:
        text = with_wish(self.editor.text.source(), key, value)
        if text is None:
            self.form.refuse()
        else:
            self.editor.replace(text)
