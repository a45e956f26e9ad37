// Command cron says what Kubernetes' own library makes of schedules: a row for each schedule, zone and point in time,
// with the seconds from each slot to the next one. Where that library strays from what it says itself (around a clock
// that is set at midnight, or by half an hour), a last cell has what a walk finds that looks at each minute. It is test
// equipment and no part of the product.
//
// With the word missed it says which of the times that were missed a CronJob makes up for (missed.go).
//
// To make the tables anew: (cd tests/cron && go run . >../corpus/cron/slots.tsv; go run . missed >../corpus/cron/missed.tsv)
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"time"
	// What a machine has may be older or newer.
	_ "time/tzdata"

	"github.com/robfig/cron/v3"
)

// Schedules that the clock has to take, and some that it must refuse.
var schedules = []string{
	"* * * * *", "*/15 * * * *", "5/15 * * * *", "0 * * * *", "30 2 * * *", "0 0 * * *", "0 1 * * *", "0 3 * * *",
	"59 23 * * *", "*/20 1-3 * * *", "15,45 0-2 * * *", "0 12 13 * 5", "0 12 */2 * 1", "0 12 1-31 * 1", "0 12 */1 * 1",
	"0 12 ? * 1", "0 0 1 * *", "0 0 31 * *", "0 0 29 2 *", "0 0 30 2 *", "30 6-16/4 * * 1-5", "0 0 1 1,7 *",
	"7 2 * 3,10,11 0", "@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@every 1h", "@every 36h0m30.9s",
	"0 0 * mar-NOV Sun", "*/90 3 * * *",
}

var zones = []string{
	"Etc/UTC", "Europe/Berlin", "America/New_York", "America/Havana", "America/Sao_Paulo", "Asia/Beirut",
	"Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca",
}

// Just before a clock is changed somewhere, and some others. Not before the day that Apia skipped in 2011: of some
// schedules that library never comes to an end there.
var starts = []string{
	"2019-03-30T22:59:59Z", "2019-10-26T21:30:00Z", "2019-03-10T04:10:30Z", "2019-11-03T03:59:00Z",
	"2018-11-03T23:00:00Z", "2012-03-31T12:00:00Z", "2019-10-05T12:00:00Z", "2019-04-06T10:00:00Z",
	"2020-02-28T23:30:01Z", "2095-12-31T23:59:59Z",
}

// What zones decree changes, and data of zones with it: only what is past stays. UTC does.
var past = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// Texts whose reading is what matters.
var texts = []string{
	"* * * * 7", "* * L * *", "* * 15W * *", "* * * * 5#3", "* * * * FRI-MON", "* * * * sunday", "0 * * * * *",
	"* * * *", "@reboot", "@Daily", "@HOURLY", "@annually", "@midnight", " @daily", "@daily ", "@every 1h ", "@every",
	"@every ", "@every 0", "@every -5h", "@every +5m", "@every 5", "@every .5h", "@every 1.h", "@every .h",
	"@every 500ms", "@every 1h1h", "@every 1500ms", "@every 3us", "@every 7µs", "@every 1d", "@every 9999999h",
	"1, * * * *", ",1 * * * *", "1,,2 * * * *", ", * * * *", "*-5 * * * *", "?-x * * * *", "*-1-2 * * * *",
	"+5 * * * *", "-5 * * * *", "5- * * * *", "5-10- * * * *", "5-+10 * * * *", "60 * * * *", "* 24 * * *",
	"* * 0 * *", "* * 32 * *", "* * * 0 *", "* * * 13 *", "*/0 * * * *", "*/ * * * *", "*/-1 * * * *", "*/+7 * * * *",
	"1/2/3 * * * *", "10-5 * * * *", "0-59/61 * * * *", "00 007 * * *", "1_0 * * * *", "0x5 * * * *", "5.0 * * * *",
	"99999999999999999999 * * * *", "*/9223372036854775807 * * * *", "*/4294967297 * * * *", "\t5  4 * * \t*",
	"5\u00a04 * * *", "* * * Jan-mAr tUe", "* * * jan-12 *", "jan * * * *", "* * * * mon,wed,FRI", "* * * * 0-6/2",
	"** * * * *", "*5 * * * *", "?/2 * * * *", "*? * * * *", "5/70 * * * *", "* * 31 4 *", "* * * may-mar *", "", " ",
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "cron:", err)
		os.Exit(1)
	}
}

func run() error {
	out := bufio.NewWriter(os.Stdout)
	if len(os.Args) > 1 && os.Args[1] == "missed" {
		if err := missed(out); err != nil {
			return err
		}
		return out.Flush()
	}
	fmt.Fprintln(out, "# Made by tests/cron. Schedule, zone, a point in unix time, and the seconds from there to the next slots.")
	for _, zone := range zones {
		for _, start := range starts {
			at, err := time.Parse(time.RFC3339, start)
			if err != nil {
				return err
			}
			for _, schedule := range schedules {
				if err := row(out, schedule, zone, at.Unix(), 4); err != nil {
					return err
				}
			}
		}
	}
	for _, text := range texts {
		if err := row(out, text, "Etc/UTC", 1764201600, 3); err != nil {
			return err
		}
	}
	// Texts that nobody thought of, always the same.
	random := rand.New(rand.NewSource(9))
	pieces := []string{
		"*", "?", "/", "-", ",", "0", "1", "2", "5", "7", "15", "23", "31", "59", "60", "mon", "SUN", "jan", "Dec", "+",
	}
	for range 1200 {
		fields := make([]string, 0, 5)
		for range 5 {
			field := "*"
			if random.Intn(3) > 0 {
				field = ""
				for range 1 + random.Intn(3) {
					field += pieces[random.Intn(len(pieces))]
				}
			}
			fields = append(fields, field)
		}
		if err := row(out, strings.Join(fields, " "), "Etc/UTC", 1764201600, 2); err != nil {
			return err
		}
	}
	return out.Flush()
}

func row(out *bufio.Writer, text, zone string, from int64, count int) error {
	quoted, err := json.Marshal(text)
	if err != nil {
		return err
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return err
	}
	schedule, err := cron.ParseStandard(text)
	if err != nil {
		_, err = fmt.Fprintf(out, "%s\t%s\t%d\trefused\n", quoted, zone, from)
		return err
	}
	var said string
	switch spec, ok := schedule.(*cron.SpecSchedule); {
	case !ok:
		said = slots(schedule.Next, zone, from, count)
	case spec.Minute == 0 || spec.Hour == 0:
		// It would look at each minute of five years.
		said = "never"
	default:
		// As Kubernetes asks: the zone goes before the text.
		spec.Location = location
		said = slotsOf(spec, zone, from, count)
	}
	if said == "" {
		return nil
	}
	_, err = fmt.Fprintf(out, "%s\t%s\t%d\t%s\n", quoted, zone, from, said)
	return err
}

// By the library, and by the walk where that finds others.
func slotsOf(spec *cron.SpecSchedule, zone string, from int64, count int) string {
	library := slots(spec.Next, zone, from, count)
	walked := slots(func(at time.Time) time.Time { return walk(spec, at) }, zone, from, count)
	if walked == library {
		return library
	}
	return library + "\t" + walked
}

func slots(next func(time.Time) time.Time, zone string, from int64, count int) string {
	var slots []string
	at := time.Unix(from, 0)
	for range count {
		then := next(at)
		if zone != "Etc/UTC" && (then.IsZero() || then.After(past)) {
			break
		}
		if then.IsZero() {
			slots = append(slots, "never")
			break
		}
		slots = append(slots, fmt.Sprint(then.Unix()-at.Unix()))
		at = then
	}
	return strings.Join(slots, " ")
}

// The first minute after a time that its zone's clocks show as the schedule says.
func walk(spec *cron.SpecSchedule, after time.Time) time.Time {
	minute := after.Unix()/60 + 1
	last := after.In(spec.Location).Year() + 5
	for {
		at := time.Unix(minute*60, 0).In(spec.Location)
		if at.Year() > last {
			return time.Time{}
		}
		has := func(bits uint64, number int) bool { return bits&(1<<uint(number)) != 0 }
		free := (spec.Dom|spec.Dow)&(1<<63) != 0
		day, weekday := has(spec.Dom, at.Day()), has(spec.Dow, int(at.Weekday()))
		fits := day && weekday || !free && (day || weekday)
		switch {
		case !fits || !has(spec.Month, int(at.Month())) || !has(spec.Hour, at.Hour()):
			// Hours begin at quarters, in all of these zones.
			minute = (minute/15 + 1) * 15
		case !has(spec.Minute, at.Minute()):
			minute++
		default:
			return at
		}
	}
}
