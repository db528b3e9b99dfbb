//! Blocks of text, and how much is made of one.

use syncline_tree::schema::Field;

use super::super::plan::{Common, look, plan};
use super::super::source::{Counter, Source};
use super::super::{Format, Mode, Options};
use super::*;

fn blocks(text: &str, cut: Cut) -> Blocks {
    Blocks::new("t", Box::new(std::io::Cursor::new(text.as_bytes().to_vec())), cut, 1 << 20).unwrap()
}

#[test]
fn blocks_of_few_records_are_the_same_records() {
    let csv = "a,\"two\nlines\"\n\nb,\"a \"\"q\"\"\"\n\r\nc,d\nlast,";
    for (text, cut) in [(csv, Cut::Csv { delimiter: b',' }), ("{}\n\n{\"a\":1}\n{}", Cut::Lines)] {
        for most in 1..7 {
            let pieces: Vec<Block> = blocks(text, cut).limited(most).map(Result::unwrap).collect();
            let whole: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.clone()).collect();
            assert_eq!(whole, text.as_bytes());
            let mut line = 1;
            for piece in &pieces {
                assert_eq!(piece.line, line);
                line += memchr_iter(b'\n', &piece.bytes).count() as u64;
                let mut grid = Grid::new(piece.bytes.clone(), 2);
                let dialect = Dialect { delimiter: b',', null: None };
                if matches!(cut, Cut::Csv { .. }) {
                    let ragged = csv::split(&mut grid, &dialect, piece.line);
                    assert!(ragged.is_empty() && grid.len() <= most, "{most}: {ragged:?}");
                }
            }
        }
    }
}

/// The rows of each chunk of a source, of a table with these columns beside `id`.
fn chunk_rows(text: &str, format: Format, columns: Vec<Field>, rereadable: bool) -> Vec<usize> {
    let id = Field { name: "id".to_owned(), ty: Type::Int64, nullable: false };
    let schema = Schema::new([vec![id], columns].concat(), &["id"]).unwrap();
    let common = Common {
        arrow: schema.arrow(),
        encoder: KeyEncoder::new(&schema).unwrap(),
        schema: Arc::new(schema),
        shapes: Arc::new(Shapes::new()),
        inferred: Arc::default(),
        counter: Counter::default(),
        mode: Mode::Upsert,
        partial: false,
    };
    let options = Options::new(std::env::temp_dir());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let input = match rereadable {
        true => super::super::Input::Path(file.path().to_owned()),
        false => crate::import::tests::stream("t", text),
    };
    let mut seen = look(Source::new(input, Some(format)).unwrap(), &options, &common.counter).unwrap();
    super::super::plan::new_schema(std::slice::from_mut(&mut seen), &options, &["id".to_owned()]).unwrap();
    let chunks = plan(seen, 0, &common).unwrap().chunks(&options, &common).unwrap();
    chunks.map(|chunk| chunk.unwrap().rows.num_rows()).collect()
}

#[test]
fn records_of_few_bytes_and_many_cells_come_in_many_blocks() {
    let number = |i| Field { name: format!("c{i}"), ty: Type::Int64, nullable: true };
    let lines: String = (0..3000).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    let item = Field { name: "item".to_owned(), ty: Type::Float32, nullable: true };
    let vector = Field { name: "e".to_owned(), ty: Type::FixedSizeList(Box::new(item), 768), nullable: true };
    let vectors: String = std::iter::once("id,e\n".to_owned()).chain((0..3000).map(|id| format!("{id},\n"))).collect();
    for rereadable in [true, false] {
        let wide = chunk_rows(&lines, Format::Ndjson, (0..1000).map(number).collect(), rereadable);
        assert_eq!(wide.iter().sum::<usize>(), 3000);
        assert!(wide.iter().all(|rows| rows * 1000 * CELL_BYTES <= CELLS), "{wide:?}");
        let sparse = chunk_rows(&vectors, Format::Csv, vec![vector.clone()], rereadable);
        assert_eq!(sparse.iter().sum::<usize>(), 3000);
        assert!(sparse.iter().all(|rows| rows * 768 * CELL_BYTES <= CELLS), "{sparse:?}");
        let narrow = chunk_rows(&lines, Format::Ndjson, Vec::new(), rereadable);
        assert_eq!(narrow, [3000]);
    }
}
