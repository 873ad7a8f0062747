"""A message of a list says how to leave the list, so that mail programs can offer it themselves."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE personal_messages ADD COLUMN leave_link varchar NOT NULL DEFAULT ''")


def downgrade() -> None:
    op.execute("ALTER TABLE personal_messages DROP COLUMN leave_link")
