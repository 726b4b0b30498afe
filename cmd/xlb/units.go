package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// plural counts things in words: "1 service", "2 services".
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// humanCount writes a number in three to four digits: 9999, 12.3k, 4.56M.
func humanCount(n uint64) string {
	if n < 10000 {
		return strconv.FormatUint(n, 10)
	}
	return scaled(float64(n), 1000, "", "k", "M", "G", "T", "P", "E")
}

// humanBytes writes a size: 512 B, 1.46 KiB, 3.00 GiB.
func humanBytes(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10) + " B"
	}
	return scaled(float64(n), 1024, " B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB")
}

// humanRate writes things per second.
func humanRate(perSecond float64) string {
	if perSecond < 1000 {
		return trimZero(strconv.FormatFloat(perSecond, 'f', 1, 64)) + "/s"
	}
	return scaled(perSecond, 1000, "/s", "k/s", "M/s", "G/s", "T/s", "P/s", "E/s")
}

// humanBits writes a bit rate from bytes per second.
func humanBits(bytesPerSecond float64) string {
	return scaled(bytesPerSecond*8, 1000, " bit/s", " kbit/s", " Mbit/s", " Gbit/s", " Tbit/s", " Pbit/s", " Ebit/s")
}

func scaled(v, base float64, units ...string) string {
	i := 0
	// 999.5 would be written as 1000.
	for v >= base-0.5 && i < len(units)-1 {
		v /= base
		i++
	}
	switch {
	case i == 0:
		return strconv.FormatFloat(v, 'f', 0, 64) + units[0]
	case v < 9.995:
		return fmt.Sprintf("%.2f%s", v, units[i])
	case v < 99.95:
		return fmt.Sprintf("%.1f%s", v, units[i])
	}
	return fmt.Sprintf("%.0f%s", v, units[i])
}

func trimZero(s string) string { return strings.TrimSuffix(s, ".0") }

// humanDuration writes a time in its two largest units: 350ms, 12s, 4m10s,
// 3h5m, 2d4h.
func humanDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Millisecond:
		return "0s"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < time.Hour:
		return two(d, time.Minute, "m", time.Second, "s")
	case d < day:
		return two(d, time.Hour, "h", time.Minute, "m")
	}
	return two(d, day, "d", time.Hour, "h")
}

func two(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	s := strconv.Itoa(int(d/large)) + largeName
	if rest := d % large / small; rest > 0 {
		s += strconv.Itoa(int(rest)) + smallName
	}
	return s
}

// sortNumbers sorts whole numbers that are written without leading zeros.
func sortNumbers(list []string) {
	slices.SortFunc(list, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
}
