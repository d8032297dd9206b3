//! Names under which requests carry credentials, whatever the config declares as secret.
//!
//! The lists are data: a vendor's own name for a key is added here, and to the table of the tests.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Parts of header names that mark a credential. Header names are lower case.
const HEADER_PARTS: [&str; 19] = [
    "access-key",
    "api-key",
    "api_key",
    "apikey",
    "app-key",
    "application-key",
    "assertion",
    "auth-key",
    "authorization",
    "cookie",
    "credential",
    "functions-key",
    "password",
    "private-key",
    "secret",
    "session-id",
    "signature",
    "subscription-key",
    "token",
];

/// Query parameters that carry credentials or signatures, in normal form (see [`normalized`]).
const PARAMETERS: [&str; 50] = [
    "accesskey",
    "accesskeyid",
    "accesstoken",
    "accountkey",
    "appid",
    "appkey",
    "applicationkey",
    "appsecretproof",
    "assertion",
    "auth",
    "authkey",
    "authorization",
    "awsaccesskeyid",
    "bearer",
    "clientassertion",
    "consumerkey",
    "fbexchangetoken",
    "googleaccessid",
    "hdnea",
    "hdntl",
    "hdnts",
    "hmac",
    "inputtoken",
    "jobtoken",
    "jsessionid",
    "jwt",
    "key",
    "licensekey",
    "oauthconsumerkey",
    "ossaccesskeyid",
    "pass",
    "passcode",
    "passphrase",
    "phpsessid",
    "privatekey",
    "privatetoken",
    "pwd",
    "rlkey",
    "samlresponse",
    "secretkey",
    "sessionid",
    "sig",
    "sign",
    "tempauth",
    "token",
    "tokenauth",
    "userkey",
    "webhooktoken",
    "wstoken",
    "xfunctionskey",
];

/// Endings of parameter names that carry credentials or signatures, in normal form. `token` and
/// `key` alone are not among them: pages have tokens and rows have keys.
const ENDINGS: [&str; 18] = [
    "accesstoken",
    "apikey",
    "apitoken",
    "authtoken",
    "bearertoken",
    "credential",
    "credentials",
    "idtoken",
    "oauthtoken",
    "passwd",
    "password",
    "refreshtoken",
    "secret",
    "secretkey",
    "securitytoken",
    "sessiontoken",
    "signature",
    "subscriptionkey",
];

/// Maximum number of times that a name is percent-decoded.
const MAX_DECODINGS: usize = 3;

/// Returns whether a header carries a credential. Header names are lower case.
pub(super) fn is_credential_header(name: &str) -> bool {
    let bytes = name.as_bytes();
    let begins = |at: usize| HEADER_PARTS.iter().any(|part| bytes[at..].starts_with(part.as_bytes()));
    // Every response has a dozen headers: comparing first letters skips most offsets cheaply.
    (0..bytes.len())
        .any(|at| matches!(bytes[at], b'a' | b'c' | b'f' | b'p' | b's' | b't') && begins(at))
        // Not a part, because it would also match `x-author`.
        || name == "x-auth"
}

/// Returns whether a query parameter carries a credential or a signature.
pub(super) fn is_credential_parameter(name: &str) -> bool {
    let name = normalized(name);
    PARAMETERS.binary_search(&name.as_str()).is_ok() || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Returns a name without percent encoding, punctuation and capitals: `api_key`, `api%5Fkey`,
/// `apiKey` and `api[key]` are the same name.
fn normalized(name: &str) -> String {
    let mut name = Cow::Borrowed(name);
    for _ in 0..MAX_DECODINGS {
        if !name.contains('%') {
            break;
        }
        name = Cow::Owned(percent_decode_str(&name).decode_utf8_lossy().into_owned());
    }
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_sorted_for_the_search() {
        assert!(PARAMETERS.is_sorted());
    }

    #[test]
    fn credentials_of_vendors_are_known_by_name() {
        let vendors = [
            ("Akamai", vec!["hdnea", "hdnts", "hdntl"]),
            ("Alibaba Cloud OSS", vec!["OSSAccessKeyId", "x-oss-signature", "x-oss-security-token"]),
            ("Amazon", vec!["X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "AWSAccessKeyId"]),
            ("Azure", vec!["sig", "subscription-key", "Ocp-Apim-Subscription-Key", "x-functions-key"]),
            ("Datadog", vec!["api_key", "application_key"]),
            ("Facebook", vec!["access_token", "appsecret_proof", "fb_exchange_token", "input_token"]),
            ("GitLab", vec!["private_token", "job_token"]),
            ("Google", vec!["key", "X-Goog-Signature", "X-Goog-Credential", "GoogleAccessId"]),
            ("HubSpot", vec!["hapikey"]),
            ("Matomo", vec!["token_auth"]),
            ("Microsoft SharePoint", vec!["tempauth"]),
            ("Moodle", vec!["wstoken"]),
            ("OAuth", vec!["oauth_token", "oauth_signature", "oauth_consumer_key", "id_token", "assertion"]),
            ("OAuth clients", vec!["client_secret", "client_assertion", "refresh_token"]),
            ("OpenWeather", vec!["appid"]),
            ("Pipedrive", vec!["api_token"]),
            ("Tencent Cloud", vec!["q-signature", "x-cos-security-token"]),
            ("Trello", vec!["key", "token"]),
            ("WooCommerce", vec!["consumer_key", "consumer_secret"]),
            ("exchange rates", vec!["access_key"]),
            ("encoded names", vec!["api%5Fkey", "API%5fKEY", "api%255Fkey", "%74oken", "auth[token]"]),
            ("nested names", vec!["user[password]", "user%5Bpassword%5D", "hub.secret"]),
        ];
        for (vendor, names) in vendors {
            for name in names {
                assert!(is_credential_parameter(name), "{vendor}: {name}");
            }
        }
    }

    #[test]
    fn names_of_pages_and_rows_are_no_credentials() {
        for name in [
            "pageToken",
            "page_token",
            "next_token",
            "continuation-token",
            "sync_token",
            "cursor",
            "sort_key",
            "partitionKey",
            "keyword",
            "keys",
            "signed",
            "design",
            "author",
            "passed",
            "app_id_type",
        ] {
            assert!(!is_credential_parameter(name), "{name}");
        }
    }

    #[test]
    fn credential_headers_are_known_by_name() {
        for name in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "api_key",
            "x-auth-token",
            "x-auth",
            "x-amz-security-token",
            "ocp-apim-subscription-key",
            "dd-application-key",
            "x-functions-key",
            "x-hub-signature-256",
            "x-shopify-access-token",
        ] {
            assert!(is_credential_header(name), "{name}");
        }
        for name in ["content-type", "link", "location", "etag", "x-request-id", "x-total-count", "x-author"]
        {
            assert!(!is_credential_header(name), "{name}");
        }
    }
}
