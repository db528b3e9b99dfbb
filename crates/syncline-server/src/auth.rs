//! Who may talk to this node: whoever has the token.

use syncline_base::{Hash, Kind};
use tonic::{Request, Status};

use crate::connections::Caller;

/// Checks the token of every request.
#[derive(Debug, Clone)]
pub(crate) struct Auth {
    /// The digest of the token; `None` lets everybody in, which is for loopback only.
    token: Option<Hash>,
}

impl Auth {
    pub(crate) fn new(token: Option<&str>) -> Self {
        Self { token: token.map(|token| Hash::of(token.as_bytes())) }
    }
}

impl tonic::service::Interceptor for Auth {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let welcome = |request: Request<()>| {
            if let Some(caller) = request.extensions().get::<Caller>() {
                caller.let_in();
            }
            Ok(request)
        };
        let Some(expected) = self.token else { return welcome(request) };
        let given = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer ")).map(|token| Hash::of(token.as_bytes()));
        match given {
            Some(given) if same(&given, &expected) => welcome(request),
            Some(_) => Err(syncline_api::status::to_grpc(Kind::Denied, "the token is not the one this node asks for")),
            None => Err(syncline_api::status::to_grpc(
                Kind::Denied,
                "this node asks for a token: give it with --token or SYNCLINE_TOKEN",
            )),
        }
    }
}

/// Compares in a time that does not depend on where the digests differ.
fn same(a: &Hash, b: &Hash) -> bool {
    let difference = a.as_bytes().iter().zip(b.as_bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_digests_are_the_same() {
        let a = Hash::of(b"token");
        assert!(same(&a, &Hash::of(b"token")));
        for at in 0..32 {
            let mut other = *a.as_bytes();
            other[at] ^= 1;
            assert!(!same(&a, &Hash::from_bytes(other)));
        }
    }
}
