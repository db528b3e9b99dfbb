//! Reads conditions. How deep their parts may stand in each other is bounded, so no text makes it run out of stack. Owns nothing.

/// So deep may parts stand in parts.
const MAX_DEPTH: usize = 32;
/// So many parts there may be.
const MAX_PARTS: usize = 1024;

/// A value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal {
    /// Without its quotes.
    pub(super) text: String,
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// A condition, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parsed {
    Compare(String, Op, Literal),
    In(String, Vec<Literal>),
    /// What it begins with.
    Like(String, Literal),
    All(Vec<Parsed>),
    Any(Vec<Parsed>),
    Not(Box<Parsed>),
}

/// Reads a condition.
///
/// # Errors
/// Where it is none, and why.
pub(super) fn parse(text: &str) -> Result<Parsed, String> {
    let mut parser = Parser { text, at: 0, depth: 0, parts: 0 };
    let parsed = parser.any()?;
    parser.space();
    if parser.at < text.len() { Err(parser.wrong("AND, OR or the end is expected")) } else { Ok(parsed) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    parts: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn wrong(&self, why: &str) -> String {
        let rest: String = self.rest().chars().take(20).collect();
        if rest.is_empty() { format!("{why} where it ends") } else { format!("{why} at {rest:?}") }
    }

    fn sign(&mut self, sign: &str) -> bool {
        self.space();
        let takes = self.rest().starts_with(sign);
        self.at += if takes { sign.len() } else { 0 };
        takes
    }

    /// A bare word, and how long it is.
    fn peek(&mut self) -> &'a str {
        self.space();
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        &rest[..end]
    }

    fn word(&mut self, word: &str) -> bool {
        let takes = self.peek().eq_ignore_ascii_case(word);
        self.at += if takes { word.len() } else { 0 };
        takes
    }

    fn need(&mut self, word: &str) -> Result<(), String> {
        let takes = if word.starts_with(char::is_alphabetic) { self.word(word) } else { self.sign(word) };
        if takes { Ok(()) } else { Err(self.wrong(&format!("`{word}` is expected"))) }
    }

    fn any(&mut self) -> Result<Parsed, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("its parts stand in each other more than {MAX_DEPTH} times"));
        }
        let mut parts = vec![self.all()?];
        while self.word("or") {
            parts.push(self.all()?);
        }
        self.depth -= 1;
        Ok(one_or(parts, Parsed::Any))
    }

    fn all(&mut self) -> Result<Parsed, String> {
        let mut parts = vec![self.not()?];
        while self.word("and") {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Parsed::All))
    }

    fn not(&mut self) -> Result<Parsed, String> {
        let mut nots = 0;
        while self.word("not") {
            nots += 1;
        }
        let part = if self.sign("(") {
            let part = self.any()?;
            self.need(")")?;
            part
        } else {
            self.single()?
        };
        Ok(if nots % 2 == 1 { Parsed::Not(Box::new(part)) } else { part })
    }

    fn single(&mut self) -> Result<Parsed, String> {
        const OPS: [(&str, Op); 8] = [
            ("==", Op::Equal),
            ("!=", Op::NotEqual),
            ("<>", Op::NotEqual),
            ("<=", Op::AtMost),
            (">=", Op::AtLeast),
            ("=", Op::Equal),
            ("<", Op::Less),
            (">", Op::More),
        ];
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(format!("it has more than {MAX_PARTS} parts"));
        }
        let name = self.column()?;
        if let Some((_, op)) = OPS.into_iter().find(|(sign, _)| self.sign(sign)) {
            return Ok(Parsed::Compare(name, op, self.literal()?));
        }
        let not = self.word("not");
        let part = if self.word("in") {
            self.need("(")?;
            let mut all = vec![self.literal()?];
            while self.sign(",") {
                all.push(self.literal()?);
            }
            self.need(")")?;
            Parsed::In(name, all)
        } else if self.word("between") {
            let low = self.literal()?;
            self.need("and")?;
            let high = self.literal()?;
            Parsed::All(vec![Parsed::Compare(name.clone(), Op::AtLeast, low), Parsed::Compare(name, Op::AtMost, high)])
        } else if self.word("like") {
            Parsed::Like(name, self.beginning()?)
        } else {
            return Err(self.wrong("a comparison, IN, BETWEEN or LIKE is expected"));
        };
        Ok(if not { Parsed::Not(Box::new(part)) } else { part })
    }

    fn column(&mut self) -> Result<String, String> {
        self.space();
        if self.rest().starts_with('"') {
            return self.quoted('"');
        }
        let word = self.peek();
        if word.is_empty() || word.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.wrong("the name of a column is expected"));
        }
        self.at += word.len();
        Ok(word.to_owned())
    }

    /// Text in quotes, in which two of them stand for one.
    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c != quote {
                text.push(c);
            } else if chars.peek().is_some_and(|(_, next)| *next == quote) {
                text.push(c);
                chars.next();
            } else {
                self.at += at + 1;
                return Ok(text);
            }
        }
        Err(self.wrong("a quote that is not closed"))
    }

    fn literal(&mut self) -> Result<Literal, String> {
        self.space();
        if let Some(quote) = self.rest().chars().next().filter(|c| matches!(c, '\'' | '"')) {
            return Ok(Literal { text: self.quoted(quote)? });
        }
        let rest = self.rest();
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.'))).unwrap_or(rest.len());
        let text = &rest[..end];
        let number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
        if !number && !text.eq_ignore_ascii_case("true") && !text.eq_ignore_ascii_case("false") {
            return Err(self.wrong("a number, or text in quotes, is expected"));
        }
        self.at += end;
        Ok(Literal { text: if number { text.to_owned() } else { text.to_ascii_lowercase() } })
    }

    fn beginning(&mut self) -> Result<Literal, String> {
        let Literal { text } = self.literal()?;
        match text.strip_suffix('%') {
            Some(text) if !text.contains(['%', '_']) => Ok(Literal { text: text.to_owned() }),
            _ => Err("LIKE takes a beginning and a % at its end, like 'eu-%', and no other % or _".to_owned()),
        }
    }
}

fn one_or(mut parts: Vec<Parsed>, many: fn(Vec<Parsed>) -> Parsed) -> Parsed {
    if parts.len() == 1 { parts.remove(0) } else { many(parts) }
}
