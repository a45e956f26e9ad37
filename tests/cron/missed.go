package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Rows of missed times: a schedule, a zone, when the last time was handled that it names, in unix time, how many
// seconds later it is now, how late one may be (or -), and then what a CronJob makes up for: how many seconds after the
// last one the newest missed time is, or none, and whether more than a hundred were missed. It is now before then where
// the clock was set back. Where the controller strays from the newest of all times that were missed, since it reckons
// by the first two of them, a last cell has what a walk through all of them finds.
func missed(out *bufio.Writer) error {
	fmt.Fprintln(out, "# Made by tests/cron. Schedule, zone, the last time that was handled in unix time, the seconds from there to now, the deadline, and what is made up for.")
	places := []struct{ zone, start string }{
		{"Etc/UTC", "2019-03-01T00:00:00Z"}, {"Etc/UTC", "2020-02-28T23:59:30Z"}, {"Europe/Berlin", "2019-03-30T22:10:00Z"},
		{"Europe/Berlin", "2019-10-26T22:10:00Z"}, {"Asia/Kathmandu", "2019-06-14T18:14:59Z"},
	}
	schedules := []string{
		"* * * * *", "*/10 * * * *", "0 * * * *", "30 2 * * *", "0 12 13 * 5", "30 6-16/4 * * 1-5", "0 0 1 * *",
		"0 0 29 2 *", "@every 7m", "@every 36h",
	}
	const minute, hour, day = 60, 3600, 86400
	later := []int64{
		-400 * day, -hour, -1, 0, 1, 59, minute, 11 * minute, 100 * minute, 101 * minute, 102 * minute, 3 * hour,
		17*hour + 1, 3 * day, 8*day + 7, 110 * day, 400 * day,
	}
	for _, place := range places {
		start, err := time.Parse(time.RFC3339, place.start)
		if err != nil {
			return err
		}
		location, err := time.LoadLocation(place.zone)
		if err != nil {
			return err
		}
		for _, text := range schedules {
			schedule, err := cron.ParseStandard(text)
			if err != nil {
				return err
			}
			every := strings.HasPrefix(text, "@")
			if spec, ok := schedule.(*cron.SpecSchedule); ok {
				spec.Location = location
			}
			for _, seconds := range later {
				for _, deadline := range []int64{-1, 0, 10, 200, day} {
					// The deadline moves those of @every, by a CronJob.
					if every && deadline >= 0 {
						continue
					}
					if err := missedRow(out, schedule, text, place.zone, start.Unix(), seconds, deadline); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func missedRow(out *bufio.Writer, schedule cron.Schedule, text, zone string, last, seconds, deadline int64) error {
	quoted, err := json.Marshal(text)
	if err != nil {
		return err
	}
	// A controller's clock has fractions, and what is written in statuses has none.
	since, now := time.Unix(last, 0), time.Unix(last+seconds, 3e8)
	word := "-"
	var allowed *int64
	if deadline >= 0 {
		word, allowed = fmt.Sprint(deadline), &deadline
	}
	said := found(since, now, schedule, allowed, mostRecentScheduleTime)
	if walked := found(since, now, schedule, allowed, newestOfAll); walked != said {
		said += "\t" + walked
	}
	_, err = fmt.Fprintf(out, "%s\t%s\t%d\t%d\t%s\t%s\n", quoted, zone, last, seconds, word, said)
	return err
}

type searched func(earliest, now time.Time, schedule cron.Schedule) (*time.Time, bool)

func found(since, now time.Time, schedule cron.Schedule, deadline *int64, search searched) string {
	earliest := since
	if deadline != nil {
		// As the controller does: it does not look at anything before this point.
		if point := now.Add(-time.Second * time.Duration(*deadline)); point.After(earliest) {
			earliest = point
		}
	}
	newest, many := search(earliest, now, schedule)
	switch {
	case newest == nil:
		return "none"
	case many:
		return fmt.Sprintf("%d many", newest.Unix()-since.Unix())
	default:
		return fmt.Sprintf("%d few", newest.Unix()-since.Unix())
	}
}

// All of them, one after another.
func newestOfAll(earliest, now time.Time, schedule cron.Schedule) (*time.Time, bool) {
	var newest *time.Time
	count := 0
	for at := schedule.Next(earliest); !at.IsZero() && !at.After(now); at = schedule.Next(at) {
		newest = &at
		count++
	}
	return newest, count > 100
}

// The arithmetic of mostRecentScheduleTime in pkg/controller/cronjob/utils.go of Kubernetes 1.35.4 (The Kubernetes
// Authors, Apache License 2.0), which can't be called from without; without the CronJob's own fields.
func mostRecentScheduleTime(earliestTime, now time.Time, schedule cron.Schedule) (*time.Time, bool) {
	t1 := schedule.Next(earliestTime)
	t2 := schedule.Next(t1)
	if now.Before(t1) {
		return nil, false
	}
	if now.Before(t2) {
		return &t1, false
	}
	timeBetweenTwoSchedules := int64(t2.Sub(t1).Round(time.Second).Seconds())
	if timeBetweenTwoSchedules < 1 {
		return nil, false
	}
	timeElapsed := int64(now.Sub(t1).Seconds())
	numberOfMissedSchedules := (timeElapsed / timeBetweenTwoSchedules) + 1
	var mostRecentTime time.Time
	potentialEarliest := t1.Add(time.Duration((numberOfMissedSchedules-1-1)*timeBetweenTwoSchedules) * time.Second)
	for t := schedule.Next(potentialEarliest); !t.After(now); t = schedule.Next(t) {
		mostRecentTime = t
	}
	if mostRecentTime.IsZero() {
		return nil, numberOfMissedSchedules > 100
	}
	return &mostRecentTime, numberOfMissedSchedules > 100
}
