//! The table types of Arrow columns, when there is no key yet.

use syncline_tree::schema::Field;

/// The table's fields for an Arrow schema's.
///
/// # Errors
/// When a column's type cannot be in a table.
pub(crate) fn fields_of(arrow: &arrow_schema::Schema) -> Result<Vec<Field>, syncline_tree::Error> {
    arrow.fields().iter().map(|field| Field::from_arrow(field)).collect()
}
