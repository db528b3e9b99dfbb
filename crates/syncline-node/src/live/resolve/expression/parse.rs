//! Reads expressions.
//!
//! By precedence, one level after the other; how deep it may go is bounded, so no text makes it run out of stack.

use super::value::Value;
use super::{Expr, Op};

/// So deep may parts stand in parts.
const MAX_DEPTH: usize = 64;
/// So many parts there may be.
const MAX_PARTS: usize = 512;

/// Operators from the weakest on; those of one level hold to the left.
const LEVELS: [&[(&str, Op)]; 5] = [
    &[("||", Op::Or)],
    &[("&&", Op::And)],
    &[
        ("==", Op::Equal),
        ("!=", Op::NotEqual),
        ("<=", Op::AtMost),
        (">=", Op::AtLeast),
        ("<", Op::Less),
        (">", Op::More),
    ],
    &[("+", Op::Add), ("-", Op::Subtract)],
    &[("*", Op::Multiply), ("/", Op::Divide), ("%", Op::Rest)],
];

/// Reads an expression.
///
/// # Errors
/// Where it is none, and why.
pub(in crate::live) fn parse(text: &str) -> Result<Expr, String> {
    let mut parser = Parser { text, at: 0, depth: 0, parts: 0 };
    let expr = parser.choice()?;
    parser.space();
    if parser.at < text.len() { Err(parser.wrong("an operator or the end is expected")) } else { Ok(expr) }
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

    fn take(&mut self, word: &str) -> bool {
        self.space();
        let takes = self.rest().starts_with(word);
        if takes {
            self.at += word.len();
        }
        takes
    }

    fn need(&mut self, word: &str) -> Result<(), String> {
        if self.take(word) { Ok(()) } else { Err(self.wrong(&format!("`{word}` is expected"))) }
    }

    fn choice(&mut self) -> Result<Expr, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("its parts stand in each other more than {MAX_DEPTH} times"));
        }
        let test = self.level(0)?;
        let expr = if self.take("?") {
            let yes = self.choice()?;
            self.need(":")?;
            Expr::If(test.into(), yes.into(), self.choice()?.into())
        } else {
            test
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn level(&mut self, level: usize) -> Result<Expr, String> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.level(level + 1)?;
        loop {
            let Some((_, op)) = operators.iter().find(|(word, _)| self.take(word)) else { return Ok(left) };
            left = Expr::Binary(*op, left.into(), self.level(level + 1)?.into());
        }
    }

    fn unary(&mut self) -> Result<Expr, String> {
        (self.depth, self.parts) = (self.depth + 1, self.parts + 1);
        if self.depth > MAX_DEPTH {
            return Err(format!("its parts stand in each other more than {MAX_DEPTH} times"));
        }
        // A row of operators is as deep as it is long.
        if self.parts > MAX_PARTS {
            return Err(format!("it has more than {MAX_PARTS} parts"));
        }
        self.space();
        let expr = if !self.rest().starts_with("!=") && self.take("!") {
            Expr::Not(self.unary()?.into())
        } else if self.take("-") {
            Expr::Minus(self.unary()?.into())
        } else {
            self.member()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn member(&mut self) -> Result<Expr, String> {
        let mut of = self.primary()?;
        for _ in 0..MAX_DEPTH {
            match self.part()? {
                Some(name) => of = Expr::Member(of.into(), name),
                None => return Ok(of),
            }
        }
        Err(format!("more than {MAX_DEPTH} members stand in a row"))
    }

    /// What stands behind a point or in brackets.
    fn part(&mut self) -> Result<Option<String>, String> {
        if self.take(".") {
            return self.name().map(Some).ok_or_else(|| self.wrong("a name is expected"));
        }
        if !self.take("[") {
            return Ok(None);
        }
        let Some(name) = self.quoted()? else { return Err(self.wrong("a name in quotes is expected")) };
        self.need("]")?;
        Ok(Some(name))
    }

    fn primary(&mut self) -> Result<Expr, String> {
        if self.take("(") {
            let expr = self.choice()?;
            self.need(")")?;
            return Ok(expr);
        }
        if let Some(text) = self.quoted()? {
            return Ok(Expr::Literal(Value::Text(text)));
        }
        if self.rest().starts_with(|first: char| first.is_ascii_digit()) {
            let number = |c: char| c.is_ascii_digit() || c == '.';
            let end = self.rest().find(|c: char| !number(c)).unwrap_or(self.rest().len());
            let text = &self.rest()[..end];
            let value = Value::number(text).filter(|_| !text.ends_with('.'));
            let value = value.ok_or_else(|| self.wrong("a number that is one is expected"))?;
            self.at += end;
            return Ok(Expr::Literal(value));
        }
        let Some(name) = self.name() else { return Err(self.wrong("a value is expected")) };
        match &name[..] {
            "true" | "false" => Ok(Expr::Literal(Value::Bool(name == "true"))),
            "time" => Ok(Expr::Time),
            "writer" => Ok(Expr::Writer),
            "row" => match self.part()? {
                Some(column) => Ok(Expr::Column(column)),
                None => Err(self.wrong("a column is expected: row.NAME or row[\"NAME\"]")),
            },
            "size" | "has" => {
                self.need("(")?;
                let of = self.choice()?.into();
                self.need(")")?;
                Ok(if name == "size" { Expr::Size(of) } else { Expr::Has(of) })
            }
            _ => Err(format!(
                "{name:?} is not known: there are row.COLUMN, time, writer, size(…), has(…), true and false"
            )),
        }
    }

    fn name(&mut self) -> Option<String> {
        self.space();
        let rest = self.rest();
        let inner = |c: char| c.is_alphanumeric() || c == '_';
        let end = rest.find(|c: char| !inner(c)).unwrap_or(rest.len());
        if end == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.at += end;
        Some(rest[..end].to_owned())
    }

    /// A text in single or double quotes; a backslash takes the next character as it is.
    fn quoted(&mut self) -> Result<Option<String>, String> {
        self.space();
        let Some(quote) = self.rest().chars().next().filter(|c| matches!(c, '"' | '\'')) else { return Ok(None) };
        let (mut text, mut escaped) = (String::new(), false);
        for (at, c) in self.rest().char_indices().skip(1) {
            if escaped {
                text.push(c);
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == quote {
                self.at += at + 1;
                return Ok(Some(text));
            } else {
                text.push(c);
            }
        }
        Err(self.wrong("a text does not end"))
    }
}
