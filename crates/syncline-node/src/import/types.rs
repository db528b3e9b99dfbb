//! The table types of Arrow columns, when there is no key yet.

use std::sync::Arc;

use syncline_tree::schema::{Field, Schema};

/// The table's fields for an Arrow schema's.
///
/// # Errors
/// When a column's type cannot be in a table.
pub(crate) fn fields_of(arrow: &arrow_schema::Schema) -> Result<Vec<Field>, syncline_tree::Error> {
    // A table has a key, and these columns may have none that could be one: lend them a column for as long as it takes.
    let mut lent = "key".to_owned();
    while arrow.column_with_name(&lent).is_some() {
        lent.push('_');
    }
    let key = Arc::new(arrow_schema::Field::new(&lent, arrow_schema::DataType::Int64, false));
    let fields: Vec<_> = arrow.fields().iter().cloned().chain([key]).collect();
    let mut columns = Schema::from_arrow(&arrow_schema::Schema::new(fields), &[lent])?.columns;
    columns.pop();
    let field =
        |column: syncline_tree::schema::Column| Field { name: column.name, ty: column.ty, nullable: column.nullable };
    Ok(columns.into_iter().map(field).collect())
}
