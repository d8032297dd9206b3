//! Converts the header of a plan between its message and [`PlanHeader`].
//!
//! Both directions name every field, so that a field that is added to one side breaks the build
//! until the other side has it.

use orchid_plan::{CatchUpPolicy, OverlapPolicy, PlanHeader};

use crate::v1;

/// A number in an enum field that is none of the enum's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{number} is not a value of {enum_name}")]
pub struct UnknownEnumValue {
    /// Name of the field.
    pub field: &'static str,
    /// Name of the enum.
    pub enum_name: &'static str,
    /// The number that was sent.
    pub number: i32,
}

impl v1::Plan {
    /// Returns the header as it was sent; unset fields stay unset. Nothing is checked but enums.
    ///
    /// # Errors
    /// Fails if an enum field holds a number that is none of its values.
    pub fn header(&self) -> Result<PlanHeader, UnknownEnumValue> {
        let Self {
            key,
            integration,
            configs,
            name,
            description,
            enabled,
            wait_seconds,
            overlap,
            repeat_count,
            priority,
            cron,
            timezone,
            spread_seconds,
            catch_up,
            // Not a part of the header.
            definition: _,
            revision: _,
            create_time: _,
            update_time: _,
            etag: _,
            warnings: _,
        } = self;
        Ok(PlanHeader {
            key: key.clone(),
            integration: integration.clone(),
            configs: configs.clone(),
            name: name.clone(),
            description: description.clone(),
            enabled: *enabled,
            wait_seconds: *wait_seconds,
            cron: non_empty(cron),
            timezone: non_empty(timezone),
            spread_seconds: *spread_seconds,
            overlap: overlap_policy(*overlap)?,
            catch_up: catch_up_policy(*catch_up)?,
            repeat_count: *repeat_count,
            priority: *priority,
        })
    }
}

impl From<PlanHeader> for v1::Plan {
    /// Creates a message without definition and without the fields that the server sets.
    fn from(header: PlanHeader) -> Self {
        let PlanHeader {
            key,
            integration,
            configs,
            name,
            description,
            enabled,
            wait_seconds,
            cron,
            timezone,
            spread_seconds,
            overlap,
            catch_up,
            repeat_count,
            priority,
        } = header;
        Self {
            key,
            integration,
            configs,
            name,
            description,
            enabled,
            wait_seconds,
            overlap: overlap.map_or(v1::Overlap::Unspecified, overlap_message).into(),
            repeat_count,
            priority,
            cron: cron.unwrap_or_default(),
            timezone: timezone.unwrap_or_default(),
            spread_seconds,
            catch_up: catch_up.map_or(v1::CatchUp::Unspecified, catch_up_message).into(),
            definition: None,
            revision: 0,
            create_time: None,
            update_time: None,
            etag: String::new(),
            warnings: Vec::new(),
        }
    }
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn overlap_policy(number: i32) -> Result<Option<OverlapPolicy>, UnknownEnumValue> {
    match v1::Overlap::try_from(number) {
        Ok(v1::Overlap::Unspecified) => Ok(None),
        Ok(v1::Overlap::Skip) => Ok(Some(OverlapPolicy::Skip)),
        Ok(v1::Overlap::Queue) => Ok(Some(OverlapPolicy::Queue)),
        Err(_) => Err(UnknownEnumValue { field: "overlap", enum_name: "Overlap", number }),
    }
}

fn overlap_message(policy: OverlapPolicy) -> v1::Overlap {
    match policy {
        OverlapPolicy::Skip => v1::Overlap::Skip,
        OverlapPolicy::Queue => v1::Overlap::Queue,
    }
}

fn catch_up_policy(number: i32) -> Result<Option<CatchUpPolicy>, UnknownEnumValue> {
    match v1::CatchUp::try_from(number) {
        Ok(v1::CatchUp::Unspecified) => Ok(None),
        Ok(v1::CatchUp::RunOnce) => Ok(Some(CatchUpPolicy::RunOnce)),
        Ok(v1::CatchUp::Skip) => Ok(Some(CatchUpPolicy::Skip)),
        Ok(v1::CatchUp::RunEach) => Ok(Some(CatchUpPolicy::RunEach)),
        Err(_) => Err(UnknownEnumValue { field: "catch_up", enum_name: "CatchUp", number }),
    }
}

fn catch_up_message(policy: CatchUpPolicy) -> v1::CatchUp {
    match policy {
        CatchUpPolicy::RunOnce => v1::CatchUp::RunOnce,
        CatchUpPolicy::Skip => v1::CatchUp::Skip,
        CatchUpPolicy::RunEach => v1::CatchUp::RunEach,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_survives_the_way_through_its_message() {
        for header in [
            PlanHeader::default(),
            PlanHeader {
                key: "orders".to_owned(),
                configs: vec!["eu".to_owned()],
                enabled: Some(false),
                cron: Some("0 5 * * *".to_owned()),
                spread_seconds: Some(60),
                overlap: Some(OverlapPolicy::Queue),
                catch_up: Some(CatchUpPolicy::RunEach),
                priority: Some(0),
                ..PlanHeader::default()
            },
        ] {
            assert_eq!(v1::Plan::from(header.clone()).header(), Ok(header));
        }
    }

    #[test]
    fn unknown_enum_value_is_refused() {
        let error = v1::Plan { catch_up: 9, ..v1::Plan::default() }.header().unwrap_err();
        assert_eq!((error.field, error.to_string().as_str()), ("catch_up", "9 is not a value of CatchUp"));
    }
}
