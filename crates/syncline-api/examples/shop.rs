//! A program that keeps prices in a live table: writes, reads, changes what it has read, and follows what is written.
//!
//! `cargo run -p syncline-api --example shop -- http://127.0.0.1:7070/shop [TOKEN]`, once the table is there:
//! `syncline table create prices --key sku --column price:float64 --column stock:int64`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it tells what it saw")]

use serde::{Deserialize, Serialize};
use serde_json::json;
use syncline_api::live::{Live, Since};
use syncline_api::{Kind, Result};

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Price {
    sku: String,
    price: f64,
    stock: i64,
}

/// Takes one of an article. Nobody's write is lost: what others wrote since the row was read is kept beside this one.
fn sell(shop: &Live, sku: &str) -> Result<i64> {
    let read = shop.get::<Price>("prices", &json!({ "sku": sku }))?;
    let sold = Price { stock: read.row.stock - 1, ..read.row };
    shop.transaction().read(&read.position).put("prices", &sold)?.commit()?;
    Ok(sold.stock)
}

/// Does it all once; says what it saw.
pub fn run(url: &str, token: Option<&str>) -> Result<Vec<String>> {
    let shop = Live::connect(url, token)?;
    let price = |sku: &str, price, stock| Price { sku: sku.to_owned(), price, stock };
    // One transaction: everybody sees both rows, or none.
    let first = shop.put("prices", &[price("A-1", 9.5, 3), price("B-2", 20.0, 1)])?;
    let left = sell(&shop, "A-1")?;
    shop.delete("prices", &[json!({ "sku": "B-2" })])?;
    let mut seen = vec![format!("{left} left of A-1")];
    if let Err(gone) = shop.get::<Price>("prices", &json!({ "sku": "B-2" })) {
        assert_eq!(gone.kind(), Kind::NotFound);
        seen.push("B-2 is gone".to_owned());
    }
    // What was written after the first transaction. A program that goes on later keeps the position of the last one that it has seen.
    for transaction in shop.watch(Some("prices"), Since::Position(first.position)).take(2) {
        for change in transaction?.changes {
            seen.push(match change.row {
                Some(row) => format!("{} has {} in stock", row["sku"], row["stock"]),
                None => format!("{} was deleted", change.key["sku"]),
            });
        }
    }
    Ok(seen)
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let Some(url) = words.next() else {
        eprintln!("usage: shop http://HOST:PORT/DATASET [TOKEN]");
        return Ok(());
    };
    for line in run(&url, words.next().as_deref())? {
        println!("{line}");
    }
    Ok(())
}
