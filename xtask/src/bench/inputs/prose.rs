//! Rows of questions and answers, as sets for language models have them: a text key in no order, a short and two long
//! texts and a length; and four later versions of the table.
//!
//! The shape and the edits are those of the experiment that was published for content-defined Parquet pages: 100 k rows
//! in 96 MB of Snappy Parquet; 3 k rows inserted at three places, 4 k deleted at two, a column of lengths added, another one
//! dropped. The text is made of words by their frequency, so that it compresses about as prose does.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{CdcOptions, WriterProperties};
use syncline_base::rng::Rng;

const SEED: u64 = 0x9a0e_7e47;
const BATCH: usize = 1024;
const WORDS: u64 = 12_000;
/// Larger than any number of rows, and prime: numbers times a constant modulo it are a shuffle.
const KEYS: u64 = 10_000_019;

/// The column of the primary key.
pub(in super::super) const KEY: &str = "id";
/// The column that the third edit adds.
pub(in super::super) const ADDED: &str = "response_length";
/// The column that the fourth edit drops.
pub(in super::super) const DROPPED: &str = "question_length";
/// The table and its later versions, each an edit of the one before.
pub(in super::super) const VERSIONS: [&str; 5] = ["v0", "v1", "v2", "v3", "v4"];
/// The inserted rows, the keys of the deleted ones, and the keys with the added column.
pub(in super::super) const EDITS: [&str; 3] = ["inserts.parquet", "deletes.parquet", "lengths.parquet"];

/// How many rows.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Size {
    /// Of the first version.
    pub(in super::super) rows: u64,
    /// That are inserted.
    pub(in super::super) insert: u64,
    /// That are deleted.
    pub(in super::super) delete: u64,
}

/// How the pages of a Parquet file are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Pages {
    /// By size, as writers do unless told otherwise.
    Sized,
    /// By content, so that an edit moves few of them.
    ContentDefined,
}

/// The file of a version.
pub(in super::super) fn file(version: &str, pages: Pages) -> String {
    match pages {
        Pages::Sized => format!("{version}.parquet"),
        Pages::ContentDefined => format!("{version}.cdc.parquet"),
    }
}

/// Writes every version, each with both kinds of pages, and the edits into `dir`.
pub(in super::super) fn write(dir: &Path, size: Size) -> Result<()> {
    let text = Text::new();
    let [base, inserted, deleted] = orders(size);
    let first = ["id", "system_prompt", DROPPED, "question", "response"];
    let added = ["id", "system_prompt", DROPPED, "question", "response", ADDED];
    let last = ["id", "system_prompt", "question", "response", ADDED];
    let tables: [(&[u64], &[&str]); 5] =
        [(&base, &first), (&inserted, &first), (&deleted, &first), (&deleted, &added), (&deleted, &last)];
    for (version, (order, columns)) in VERSIONS.into_iter().zip(tables) {
        for pages in [Pages::Sized, Pages::ContentDefined] {
            text.parquet(&dir.join(file(version, pages)), order, columns, pages)?;
        }
    }
    let new: Vec<u64> = (size.rows..size.rows + size.insert).collect();
    let gone: Vec<u64> = inserted.iter().filter(|row| !deleted.contains(row)).copied().collect();
    let [inserts, deletes, lengths] = EDITS;
    text.parquet(&dir.join(inserts), &new, &first, Pages::Sized)?;
    text.parquet(&dir.join(deletes), &gone, &[KEY], Pages::Sized)?;
    text.parquet(&dir.join(lengths), &deleted, &[KEY, ADDED], Pages::Sized)
}

/// The rows of the first three versions in file order.
fn orders(size: Size) -> [Vec<u64>; 3] {
    let base: Vec<u64> = (0..size.rows).collect();
    let place = |percent: u64| usize::try_from(size.rows * percent / 100).unwrap_or(0);
    let mut inserted = base.clone();
    // From the back, so that a place stays where it was.
    for (third, percent) in [(2, 70), (1, 40), (0, 10)] {
        let at = place(percent);
        let rows = size.rows + size.insert * third / 3..size.rows + size.insert * (third + 1) / 3;
        inserted.splice(at..at, rows);
    }
    let mut deleted = inserted.clone();
    let most = size.delete * 3 / 4;
    for (percent, count) in [(60, size.delete - most), (15, most)] {
        let at = place(percent);
        deleted.drain(at..at + usize::try_from(count).unwrap_or(0));
    }
    [base, inserted, deleted]
}

/// Words by their frequency.
struct Text {
    words: Vec<String>,
    /// For each word, the sum of the frequencies up to and with it.
    sums: Vec<u64>,
    prompts: Vec<String>,
}

impl Text {
    fn new() -> Self {
        let words = (0..WORDS).map(word).collect();
        let mut sum = 0;
        let sums = (0..WORDS)
            .map(|rank| {
                sum += 10_000_000 / (rank + 3);
                sum
            })
            .collect();
        let mut text = Self { words, sums, prompts: vec![String::new()] };
        let mut rng = Rng::from_seed(SEED);
        text.prompts = (0..16).map(|at| text.sentence(&mut rng, 8 + 3 * at)).chain([String::new()]).collect();
        text
    }

    fn sentence(&self, rng: &mut Rng, words: u64) -> String {
        let total = self.sums.last().copied().unwrap_or(1);
        let mut sentence = String::new();
        for at in 0..words {
            let drawn = rng.below(total);
            let rank = self.sums.partition_point(|sum| *sum <= drawn);
            let end = if at % 11 == 10 { "." } else { "" };
            let gap = if at == 0 { "" } else { " " };
            write!(sentence, "{gap}{}{end}", self.words[rank]).expect("a string takes what is written to it");
        }
        sentence
    }

    /// The cells of some columns of a row.
    fn batch(&self, rows: &[u64], columns: &[&str]) -> Result<RecordBatch> {
        let long = |row: u64, salt: u64, least: u64| {
            let mut rng = Rng::from_seed(SEED ^ salt ^ row.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let words = least + rng.below(5 * least);
            self.sentence(&mut rng, words)
        };
        let question = |row| long(row, 1 << 60, QUESTION);
        let response = |row| long(row, 2 << 60, RESPONSE);
        let length = |text: String| i32::try_from(text.len()).unwrap_or(i32::MAX);
        let cells = |name: &&str| -> Result<ArrayRef> {
            let rows = rows.iter().copied();
            Ok(match *name {
                "id" => Arc::new(StringArray::from_iter_values(rows.map(key))),
                "system_prompt" => Arc::new(StringArray::from_iter_values(rows.map(|row| self.prompt(row)))),
                "question" => Arc::new(StringArray::from_iter_values(rows.map(question))),
                "response" => Arc::new(StringArray::from_iter_values(rows.map(response))),
                DROPPED => Arc::new(Int32Array::from_iter_values(rows.map(|row| length(question(row))))),
                ADDED => Arc::new(Int32Array::from_iter_values(rows.map(|row| length(response(row))))),
                other => anyhow::bail!("there is no column {other}"),
            })
        };
        Ok(RecordBatch::try_new(schema(columns), columns.iter().map(cells).collect::<Result<_>>()?)?)
    }

    fn prompt(&self, row: u64) -> &str {
        let mut rng = Rng::from_seed(SEED ^ row);
        &self.prompts[usize::try_from(rng.below(self.prompts.len() as u64)).unwrap_or(0)]
    }

    fn parquet(&self, path: &Path, rows: &[u64], columns: &[&str], pages: Pages) -> Result<()> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        // What pyarrow and pandas write unless told otherwise.
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_content_defined_chunking((pages == Pages::ContentDefined).then(CdcOptions::default));
        let mut writer = ArrowWriter::try_new(file, schema(columns), Some(properties.build()))?;
        for rows in rows.chunks(BATCH) {
            writer.write(&self.batch(rows, columns)?)?;
        }
        writer.close()?;
        Ok(())
    }
}

/// Words in a question and in a response: from so many to six times as many.
const QUESTION: u64 = 51;
const RESPONSE: u64 = 37;

/// Frequent words are short.
fn word(rank: u64) -> String {
    const HEADS: [&str; 12] = ["b", "c", "d", "f", "l", "m", "n", "p", "r", "s", "t", "th"];
    const TAILS: [&str; 8] = ["a", "e", "er", "i", "in", "o", "on", "u"];
    let syllables = (HEADS.len() * TAILS.len()) as u64;
    let mut word = String::new();
    let mut rest = rank;
    loop {
        let at = usize::try_from(rest % syllables).unwrap_or(0);
        word += HEADS[at / TAILS.len()];
        word += TAILS[at % TAILS.len()];
        rest /= syllables;
        if rest == 0 {
            return word;
        }
        rest -= 1;
    }
}

/// A key that says nothing of where the row stands.
fn key(row: u64) -> String {
    const SOURCES: [&str; 4] = ["niv", "flan", "t0", "cot"];
    let number = (row + 1) * 7_368_787 % KEYS;
    format!("{}.{number}", SOURCES[usize::try_from(number % 4).unwrap_or(0)])
}

fn schema(columns: &[&str]) -> SchemaRef {
    let field = |name: &&str| match *name {
        // As pyarrow and pandas declare columns unless told otherwise.
        DROPPED | ADDED => Field::new(*name, DataType::Int32, true),
        _ => Field::new(*name, DataType::Utf8, *name != KEY),
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests;
