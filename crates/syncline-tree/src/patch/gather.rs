//! New columns out of runs of old ones: the one way patched leaves, patches' cells and diffs are built.
//!
//! Runs are copied whole, buffer by buffer; nothing is looked at slot by slot but offsets.

use arrow_buffer::{BooleanBufferBuilder, Buffer};

use crate::leaf::layout::{Kind, MAX_LEAF, Node, count_ones, offset};
use crate::leaf::wire::Fault;

/// Where a run's slots come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// The base leaf.
    Base,
    /// The patch's cells.
    Cells,
    /// Nowhere: null slots.
    Nulls,
    /// Nowhere: what stands below a null parent.
    Zeroes,
}

/// Slots `start .. start + len` of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) from: From,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// A list of runs in which neighbours that fit together are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Runs(pub(super) Vec<Run>);

impl Runs {
    pub(super) fn push(&mut self, from: From, start: usize, len: usize) {
        if len == 0 {
            return;
        }
        match self.0.last_mut() {
            Some(last) if last.from == from && last.start + last.len == start => last.len += len,
            _ => self.0.push(Run { from, start, len }),
        }
    }
}

type Source<'a> = Option<&'a Node<&'a [u8]>>;

/// The column made of `runs`; an absent source is a column of nulls. `None` when both are absent.
pub(super) fn gather(base: Source<'_>, cells: Source<'_>, runs: &Runs) -> Result<Option<Node<Vec<u8>>>, Fault> {
    let Some(shape) = base.or(cells) else { return Ok(None) };
    if let (Some(base), Some(cells)) = (base, cells) {
        same_shape(base, cells)?;
    }
    let source = |run: &Run| match run.from {
        From::Base if base.is_none() => From::Nulls,
        From::Cells if cells.is_none() => From::Nulls,
        from => from,
    };
    let runs: Vec<Run> = runs.0.iter().map(|run| Run { from: source(run), ..*run }).collect();
    for run in &runs {
        let limit = match run.from {
            From::Base => base.map_or(0, |node| node.len),
            From::Cells => cells.map_or(0, |node| node.len),
            From::Nulls | From::Zeroes => continue,
        };
        if run.start + run.len > limit {
            return Err(format!("rows {} to {} wanted of {limit}", run.start, run.start + run.len));
        }
    }
    // Rows without cells take no bytes in a leaf, so their number says nothing about its length.
    if least(shape, runs.iter().map(|run| run.len).sum()) > MAX_LEAF {
        return Err("a column is longer than a leaf".to_owned());
    }
    Ok(Some(join([base.unwrap_or(shape), cells.unwrap_or(shape)], &runs)))
}

/// The fewest bytes that `len` slots of this shape can take.
fn least(shape: &Node<&[u8]>, len: usize) -> usize {
    match shape.kind {
        Kind::Bits => len / 8,
        Kind::Text | Kind::Bytes | Kind::List => len.saturating_mul(4),
        Kind::Int(n) | Kind::UInt(n) | Kind::Float(n) | Kind::Opaque(n) => len.saturating_mul(1 << n),
        Kind::FixedList(size) => least(&shape.children[0], len.saturating_mul(size as usize)),
        Kind::Struct(_) => shape.children.iter().fold(0, |sum, child| least(child, len).saturating_add(sum)),
    }
}

fn same_shape(a: &Node<&[u8]>, b: &Node<&[u8]>) -> Result<(), Fault> {
    if a.kind != b.kind || a.children.len() != b.children.len() {
        return Err(format!("a column is {} in the leaf and {} in the patch", a.kind, b.kind));
    }
    a.children.iter().zip(&b.children).try_for_each(|(a, b)| same_shape(a, b))
}

/// `sources`: base and cells. Runs from nowhere do not look at them.
fn join(sources: [&Node<&[u8]>; 2], runs: &[Run]) -> Node<Vec<u8>> {
    let kind = sources[0].kind;
    let len = runs.iter().map(|run| run.len).sum();
    let of = |run: &Run| match run.from {
        From::Base => Some(sources[0]),
        From::Cells => Some(sources[1]),
        From::Nulls | From::Zeroes => None,
    };
    let mut node = Node {
        kind,
        len,
        validity: join_validity(runs, len, of),
        values: Vec::new(),
        data: Vec::new(),
        data_len: 0,
        children: Vec::new(),
    };
    match kind {
        Kind::Bits => {
            let mut bits = BooleanBufferBuilder::new(len);
            for run in runs {
                match of(run) {
                    Some(source) => bits.append_packed_range(run.start..run.start + run.len, source.values),
                    None => bits.append_n(run.len, false),
                }
            }
            node.values = bits.as_slice().to_vec();
        }
        Kind::Text | Kind::Bytes => {
            let (offsets, pieces) = join_offsets(runs, len, of);
            node.values = offsets;
            node.data = Vec::with_capacity(pieces.iter().map(|piece| piece.len).sum());
            for piece in &pieces {
                let data = of(piece).map_or(&[][..], |source| source.data);
                node.data.extend_from_slice(&data[piece.start..piece.start + piece.len]);
            }
            node.data_len = node.data.len();
        }
        Kind::List => {
            let (offsets, pieces) = join_offsets(runs, len, of);
            node.values = offsets;
            node.children.push(join([&sources[0].children[0], &sources[1].children[0]], &pieces));
        }
        Kind::FixedList(size) => {
            let size = size as usize;
            let below = below(runs, |run| Run { start: run.start * size, len: run.len * size, ..*run });
            node.children.push(join([&sources[0].children[0], &sources[1].children[0]], &below));
        }
        Kind::Struct(_) => {
            let below = below(runs, |run| *run);
            let pairs = sources[0].children.iter().zip(&sources[1].children);
            node.children = pairs.map(|(a, b)| join([a, b], &below)).collect();
        }
        Kind::Int(n) | Kind::UInt(n) | Kind::Float(n) | Kind::Opaque(n) => {
            node.values = Vec::with_capacity(len << n);
            for run in runs {
                match of(run) {
                    Some(source) => {
                        node.values.extend_from_slice(&source.values[run.start << n..(run.start + run.len) << n]);
                    }
                    None => node.values.resize(node.values.len() + (run.len << n), 0),
                }
            }
        }
    }
    node
}

/// Runs for children: below a null there are valid zeroes.
fn below(runs: &[Run], change: impl Fn(&Run) -> Run) -> Vec<Run> {
    let child = |run: &Run| match run.from {
        From::Nulls => Run { from: From::Zeroes, ..change(run) },
        _ => change(run),
    };
    runs.iter().map(child).collect()
}

fn join_validity<'a>(runs: &[Run], len: usize, of: impl Fn(&Run) -> Option<&'a Node<&'a [u8]>>) -> Option<Vec<u8>> {
    let nulls = |run: &Run| run.from == From::Nulls || of(run).is_some_and(|source| source.validity.is_some());
    if !runs.iter().any(nulls) {
        return None;
    }
    let mut bits = BooleanBufferBuilder::new(len);
    for run in runs {
        match of(run).map(|source| source.validity) {
            Some(Some(validity)) => bits.append_packed_range(run.start..run.start + run.len, validity),
            Some(None) => bits.append_n(run.len, true),
            None => bits.append_n(run.len, run.from == From::Zeroes),
        }
    }
    let bits = bits.as_slice();
    (count_ones(bits) < len).then(|| bits.to_vec())
}

/// Offsets of the joined slots, and runs of what they point into.
fn join_offsets<'a>(runs: &[Run], len: usize, of: impl Fn(&Run) -> Option<&'a Node<&'a [u8]>>) -> (Vec<u8>, Vec<Run>) {
    let mut out = Vec::with_capacity(4 * (len + 1));
    out.extend_from_slice(&[0; 4]);
    let mut pieces = Vec::with_capacity(runs.len());
    let mut end = 0_u32;
    for run in runs {
        match of(run) {
            None => (0..run.len).for_each(|_| out.extend_from_slice(&end.to_le_bytes())),
            Some(source) => {
                let start = offset(source.values, run.start);
                let stop = offset(source.values, run.start + run.len);
                let shift = end.wrapping_sub(start as u32);
                let moved = source.values[4 * (run.start + 1)..4 * (run.start + run.len + 1)].as_chunks::<4>().0;
                out.extend(moved.iter().flat_map(|four| u32::from_le_bytes(*four).wrapping_add(shift).to_le_bytes()));
                pieces.push(Run { from: run.from, start, len: stop - start });
                end = end.wrapping_add((stop - start) as u32);
            }
        }
    }
    (out, pieces)
}

/// The same node over Arrow buffers.
pub(super) fn into_buffers(node: &Node<Vec<u8>>) -> Node<Buffer> {
    // Copied to addresses that suit every width.
    node.map(&mut |bytes| Buffer::from_slice_ref(bytes))
}

/// Whether slot `i` of `a` and slot `j` of `b` hold the same; an absent node is all null.
pub(super) fn same_cell(a: Source<'_>, i: usize, b: Source<'_>, j: usize) -> bool {
    let valid = |node: Source<'_>, at: usize| node.is_some_and(|node| node.valid(at));
    let (Some(a), Some(b)) = (a.filter(|_| valid(a, i)), b.filter(|_| valid(b, j))) else {
        return !valid(a, i) && !valid(b, j);
    };
    if a.kind != b.kind {
        return false;
    }
    let child = |at: (usize, usize)| same_cell(a.children.first(), at.0, b.children.first(), at.1);
    match a.kind {
        Kind::Bits => crate::leaf::layout::bit(a.values, i) == crate::leaf::layout::bit(b.values, j),
        Kind::Text | Kind::Bytes => a.data[a.span(i)] == b.data[b.span(j)],
        Kind::List => {
            let (x, y) = (a.span(i), b.span(j));
            x.len() == y.len() && x.zip(y).all(child)
        }
        Kind::FixedList(size) => {
            let size = size as usize;
            (0..size).all(|k| child((i * size + k, j * size + k)))
        }
        Kind::Struct(_) => a.children.iter().zip(&b.children).all(|(a, b)| same_cell(Some(a), i, Some(b), j)),
        Kind::Int(n) | Kind::UInt(n) | Kind::Float(n) | Kind::Opaque(n) => {
            a.values[i << n..(i + 1) << n] == b.values[j << n..(j + 1) << n]
        }
    }
}
