//! Page sizes and page tokens. A token is sealed and bound to its tenant, list and filter, so that
//! it only continues the list that it came from.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use tonic::Status;
use uuid::Uuid;

use crate::api::error;
use crate::commands::pagination::PageRequest;
use crate::commands::{CommandError, Diagnostic};
use crate::keys::{TokenPurpose, TokenSealer};

const DEFAULT_SIZE: usize = 50;
const MAX_SIZE: usize = 1000;
const BINDING_LEN: usize = 16;

/// Position in a list, after which the next page starts.
pub(crate) trait PageCursor: Copy {
    fn to_bytes(self) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl PageCursor for Uuid {
    fn to_bytes(self) -> Vec<u8> {
        self.into_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_slice(bytes).ok()
    }
}

impl PageCursor for i32 {
    fn to_bytes(self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

/// Reads and creates the page tokens of one list request.
pub(crate) struct PageTokens<'a> {
    sealer: &'a TokenSealer,
    binding: [u8; BINDING_LEN],
}

impl<'a> PageTokens<'a> {
    /// Binds tokens to a tenant (nil for lists of the installation), the method `list`, and the
    /// values of every filter field.
    pub(crate) fn new(sealer: &'a TokenSealer, tenant_id: Uuid, list: &str, filter: &[&str]) -> Self {
        let mut hash = Sha256::new();
        hash.update(tenant_id.as_bytes());
        for part in [list].iter().chain(filter) {
            // The length keeps ["a", "bc"] and ["ab", "c"] apart.
            hash.update(part.len().to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut binding = [0; BINDING_LEN];
        binding.copy_from_slice(&hash.finalize()[..BINDING_LEN]);
        Self { sealer, binding }
    }

    /// Decodes the page that a request asks for.
    ///
    /// # Errors
    /// Fails if the size is negative or the token does not belong to this list.
    pub(crate) fn page<C: PageCursor>(&self, size: i32, token: &str) -> Result<PageRequest<C>, Status> {
        let size = match usize::try_from(size) {
            Ok(0) => DEFAULT_SIZE,
            Ok(size) => size.min(MAX_SIZE),
            Err(_) => {
                let diagnostic = Diagnostic::new("OUT_OF_RANGE", "/page_size", format!("{size} is negative"));
                return Err(error::invalid("INVALID_PAGE_SIZE", diagnostic));
            }
        };
        let after = if token.is_empty() { None } else { Some(self.open(token)?) };
        Ok(PageRequest { size, after })
    }

    /// Returns the token of the next page; empty if there is none.
    pub(crate) fn token<C: PageCursor>(&self, next: Option<C>) -> Result<String, Status> {
        let Some(next) = next else { return Ok(String::new()) };
        let payload = [self.binding.as_slice(), &next.to_bytes()].concat();
        let sealed = self
            .sealer
            .seal(TokenPurpose::Page, &payload)
            .map_err(|key| error::status(CommandError::Key(key)))?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    fn open<C: PageCursor>(&self, token: &str) -> Result<C, Status> {
        let refuse = |why: &str| {
            let diagnostic = Diagnostic::new("INVALID_VALUE", "/page_token", why);
            error::invalid("INVALID_PAGE_TOKEN", diagnostic)
        };
        let sealed = URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_| refuse("the token was not issued by this server: start again without a token"))?;
        let payload = self
            .sealer
            .open(TokenPurpose::Page, &sealed)
            .map_err(|_| refuse("the token was not issued by this server: start again without a token"))?;
        let cursor = payload.strip_prefix(self.binding.as_slice()).ok_or_else(|| {
            refuse("the token belongs to another list or filter: start again without a token")
        })?;
        C::from_bytes(cursor)
            .ok_or_else(|| refuse("the token belongs to another list: start again without a token"))
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use tonic::Code;

    use super::*;
    use crate::keys::MasterKeys;

    const TENANT: Uuid = Uuid::from_u128(1);

    fn sealer() -> TokenSealer {
        TokenSealer::new(MasterKeys::new(("k", &STANDARD.encode([1; 32])), []).unwrap().into()).unwrap()
    }

    #[test]
    fn page_size_has_default_and_bounds() {
        let sealer = sealer();
        let paging = PageTokens::new(&sealer, TENANT, "ListPlans", &[]);
        for (asked, given) in [(0, 50), (1, 1), (1000, 1000), (1001, 1000), (i32::MAX, 1000)] {
            assert_eq!(paging.page::<Uuid>(asked, "").unwrap().size, given);
        }
        assert_eq!(paging.page::<Uuid>(-1, "").unwrap_err().code(), Code::InvalidArgument);
    }

    #[test]
    fn token_is_refused_by_other_lists() {
        let sealer = sealer();
        let paging = |tenant, list, filter| PageTokens::new(&sealer, tenant, list, filter);
        let cursor = Uuid::from_u128(9);
        let token = paging(TENANT, "ListPlans", &["shop"]).token(Some(cursor)).unwrap();
        assert_eq!(
            paging(TENANT, "ListPlans", &["shop"]).page::<Uuid>(5, &token).unwrap().after,
            Some(cursor)
        );
        for other in [
            paging(Uuid::from_u128(2), "ListPlans", &["shop"]),
            paging(TENANT, "ListConfigs", &["shop"]),
            paging(TENANT, "ListPlans", &["crm"]),
            paging(TENANT, "ListPlans", &["sh", "op"]),
        ] {
            assert_eq!(other.page::<Uuid>(5, &token).unwrap_err().code(), Code::InvalidArgument);
        }
        let altered = format!("{}A", &token[..token.len() - 1]);
        for bad in ["x", "====", altered.as_str()] {
            let status = paging(TENANT, "ListPlans", &["shop"]).page::<Uuid>(5, bad).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{bad}");
        }
    }
}
