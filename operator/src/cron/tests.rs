//! The clock against what Kubernetes' own library says, row by row, and against a minute by minute walk.

use proptest::prelude::*;

use super::*;

const TABLE: &str = include_str!("../../../tests/corpus/cron/slots.tsv");

/// What `tests/cron` prints of a schedule, said by this clock.
fn said(text: &str, zone_name: &str, from: i64, count: usize) -> String {
    let Ok(cron) = text.parse::<Cron>() else {
        return "refused".to_owned();
    };
    let zone = zone(Some(zone_name)).unwrap();
    let mut at = Timestamp::from_second(from).unwrap();
    let mut slots = Vec::new();
    for _ in 0..count {
        let Some(next) = cron.after(at, &zone) else {
            slots.push("never".to_owned());
            break;
        };
        slots.push((next.as_second() - at.as_second()).to_string());
        at = next;
    }
    slots.join(" ")
}

#[test]
fn it_says_what_the_library_of_kubernetes_says() {
    let (mut rows, mut refused, mut strays) = (0, 0, 0);
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('\t').collect();
        let (text, zone, from, slots) = match cells[..] {
            [text, zone, from, slots] => (text, zone, from, slots),
            // Where that library strays, a walk through all minutes has the last word.
            [text, zone, from, _, walked] => {
                strays += 1;
                (text, zone, from, walked)
            }
            _ => panic!("{line}"),
        };
        let text: String = serde_json::from_str(text).unwrap();
        rows += 1;
        refused += usize::from(slots == "refused");
        let ours = said(&text, zone, from.parse().unwrap(), slots.split(' ').count());
        assert_eq!(ours, slots, "{line:?}");
    }
    assert!(rows > 4000 && refused > 1000, "{rows} rows, {refused} refused");
    assert!(strays > 0 && strays < 50, "{strays} strays");
}

#[test]
fn a_summer_that_begins_by_half_an_hour_loses_no_day() {
    let cron: Cron = "0 3 * * *".parse().unwrap();
    let zone = zone(Some("Australia/Lord_Howe")).unwrap();
    let at = "2025-10-04T00:00:00Z".parse().unwrap();
    // That Sunday, from 02:00 to 02:30 there is no time.
    let next = cron.after(at, &zone).unwrap();
    assert_eq!(zone.to_datetime(next).to_string(), "2025-10-05T03:00:00");
}

#[test]
fn mistakes_are_named() {
    for (text, says) in [
        ("TZ=UTC 0 0 * * *", "name it in timeZone"),
        ("0 0 * *", "it has 4 fields where five belong"),
        ("", "it has 0 fields"),
        ("@reboot", "is no word for a schedule"),
        ("@Daily", "in small letters"),
        ("@every", "is no word for a schedule"),
        ("@every soon", "\"soon\" is no duration"),
        ("60 * * * *", "the minute \"60\" is above 59"),
        ("* * 0 * *", "the day of the month \"0\" is below 1"),
        ("* * * 13 *", "the month \"13\" is above 12"),
        ("* * * * 7", "the day of the week \"7\" is above 6"),
        ("* * * * fri-mon", "ends before it begins"),
        (
            "* * * * sunday",
            "has \"sunday\", which is no number, nor one of sun to sat",
        ),
        ("* * L * *", "has \"L\", which is no number"),
        ("*/0 * * * *", "has a step of 0"),
        ("1-2-3 * * * *", "has too many hyphens"),
        ("1/2/3 * * * *", "has too many slashes"),
    ] {
        let said = text.parse::<Cron>().unwrap_err().to_string();
        assert!(said.contains(says), "{text}: {said}");
    }
}

#[test]
fn zones_have_their_right_names() {
    assert!(
        zone(None)
            .unwrap()
            .following(Timestamp::UNIX_EPOCH)
            .next()
            .is_none()
    );
    for (name, says) in [
        ("europe/berlin", "write Europe/Berlin"),
        ("Europe/Nowhere", "write it as"),
        ("Local", "write it as"),
        ("", "write it as"),
    ] {
        let said = zone(Some(name)).unwrap_err().to_string();
        assert!(said.contains(says), "{name}: {said}");
    }
    for name in [
        "Etc/UTC",
        "UTC",
        "Etc/GMT+5",
        "Asia/Kathmandu",
        "America/Argentina/Buenos_Aires",
    ] {
        zone(Some(name)).unwrap();
    }
}

/// As simple as it can be: each minute is looked at.
fn by_minutes(cron: &str, from: Timestamp, zone: &TimeZone, minutes: i64) -> Option<Timestamp> {
    let fields: Vec<&str> = cron.split(' ').collect();
    let first = from.as_second().div_euclid(60) + 1;
    (first..first + minutes).find_map(|minute| {
        let at = Timestamp::from_second(minute * 60).unwrap();
        let here = zone.to_datetime(at);
        let fits = |field: &str, number: i8| field == "*" || field == number.to_string();
        let right = fits(fields[0], here.minute())
            && fits(fields[1], here.hour())
            && fits(fields[2], here.day())
            && fits(fields[3], here.month())
            && fits(fields[4], here.weekday().to_sunday_zero_offset());
        right.then_some(at)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_minute_is_passed_over(
        minute in proptest::option::of(0..60_u8),
        hour in proptest::option::of(0..24_u8),
        weekday in proptest::option::of(0..7_u8),
        from in 946_684_800_i64..2_208_988_800,
        name in proptest::sample::select(vec![
            "Etc/UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Australia/Lord_Howe", "America/St_Johns",
            "Asia/Beirut", "Africa/Casablanca", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia", "Antarctica/Troll",
        ]),
    ) {
        let one = |field: Option<u8>| field.map_or("*".to_owned(), |it| it.to_string());
        let text = format!("{} {} * * {}", one(minute), one(hour), one(weekday));
        let (zone, from) = (zone(Some(name)).unwrap(), Timestamp::from_second(from).unwrap());
        let minutes = 9 * 24 * 60;
        let next = text.parse::<Cron>().unwrap().after(from, &zone).unwrap();
        let walked = by_minutes(&text, from, &zone, minutes);
        if let Some(walked) = walked {
            prop_assert_eq!(next, walked, "{} {}", text, name);
        } else {
            prop_assert!(next.as_second() - from.as_second() >= minutes * 60 - 60);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[-0-9a-z*?,/+@ ]{0,30}", from in 0_i64..4_000_000_000) {
        if let Ok(cron) = text.parse::<Cron>() {
            let from = Timestamp::from_second(from).unwrap();
            if let Some(next) = cron.after(from, &TimeZone::UTC) {
                prop_assert!(next > from);
            }
        }
    }
}
