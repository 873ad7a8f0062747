"""The number of a conversation's next turn is kept with the conversation, so that taking it in is one statement."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# A constant default is written to no row. Rows of before keep 0: taking a number looks at the turns as well.
COLUMN = "ALTER TABLE conversations ADD COLUMN last_number integer NOT NULL DEFAULT 0"


def upgrade() -> None:
    op.execute(COLUMN)


def downgrade() -> None:
    op.execute("ALTER TABLE conversations DROP COLUMN last_number")
