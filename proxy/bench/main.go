//go:build linux

// Command bench measures smtpscope beside other relays from WebSocket to TCP, all in one run
// and taking turns, and prints a table in Markdown. "make bench" runs it; the script setup
// fetches the other relays.
//
// One load generator drives them all, so that what is compared is the relays. It knows
// nothing about SMTP, and it measures processes from outside, smtpscope's as well.
// A relay that is missing, or dies, is named; no figure stands for it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// effort is how long to measure.
type effort struct {
	rounds  int
	trips   time.Duration // of round trips, each round
	bulk    int64         // bytes each way, each round
	churn   time.Duration // of opening and closing, each round
	idle    []int         // tunnels held open
	offered int64         // bytes to a side that does not read
	words   int           // tunnels whose target closes behind its last words
}

var (
	short = effort{rounds: 3, trips: 300 * time.Millisecond, bulk: 128 << 20, churn: 300 * time.Millisecond, idle: []int{200, 1000}, offered: 512 << 20, words: 200}
	long  = effort{rounds: 9, trips: 2 * time.Second, bulk: 2 << 30, churn: 2 * time.Second, idle: []int{200, 1000, 10000}, offered: 2 << 30, words: 200}
)

func run(ctx context.Context) error {
	program := flag.String("smtpscope", "bin/smtpscope", "the program to measure")
	fetched := flag.String("relays", ".cache/relays", "where setup put the other relays")
	against := flag.String("against", "", "another build of smtpscope, to see what a change is worth")
	only := flag.String("only", "", "measure only these, with commas between: "+strings.Join(names, ","))
	rows := flag.String("rows", "trips,bulk,churn,idle,stalled,ends", "measure only these")
	isLong := flag.Bool("long", false, "take half an hour instead of two minutes")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	e := short
	if *isLong {
		e = long
	}
	files, err := raiseFileLimit()
	if err != nil {
		return err
	}
	t, err := newTarget()
	if err != nil {
		return err
	}
	defer t.close()

	all := contenders(*program, *fetched, t.address())
	if *against != "" {
		all = append(all, smtpscopeOf("against", *against))
	}
	var relays []*contender
	for _, r := range all {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), r.name) {
			continue
		}
		relays = append(relays, r)
	}
	b := &bench{effort: e, target: t, relays: relays, files: files, before: load()}
	for _, r := range relays {
		if r.missing = r.lacks(); r.missing != "" {
			fmt.Fprintf(os.Stderr, "%s is missing: %s\n", r.name, r.missing)
		}
	}
	for _, part := range []struct {
		name    string
		measure func(context.Context)
	}{{"trips", b.roundTrips}, {"bulk", b.bulkTransfers}, {"churn", b.churnLinks}, {"idle", b.idleTunnels}, {"stalled", b.stalledTunnels}, {"ends", b.endings}} {
		if !slices.Contains(strings.Split(*rows, ","), part.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s\n", part.name)
		part.measure(ctx)
		if ctx.Err() != nil {
			return errors.New("stopped before the end, so there is no table")
		}
	}
	return b.report(os.Stdout)
}

// raiseFileLimit returns how many files this process and those that it starts may open.
func raiseFileLimit() (int, error) {
	const wanted = 65536
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: wanted, Max: wanted}) == nil {
		return wanted, nil
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("reading the limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("raising the limit of open files: %w", err)
	}
	return int(limit.Cur), nil
}
