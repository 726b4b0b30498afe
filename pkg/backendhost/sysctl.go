package backendhost

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// sysctlItem wants a setting of an interface to have one of some values. For
// most settings the kernel takes the larger one of the interface's and of
// "all"'s.
type sysctlItem struct {
	iface, family, key string
	want               int
	// fine are the values that will do.
	fine []int
	// alone: "all" does not count.
	alone bool
	why   string
}

// 1 and 2 do not answer for addresses of other interfaces; 8 answers for none.
func arpIgnore(iface string) sysctlItem {
	return sysctlItem{iface, "ipv4", "arp_ignore", 1, []int{1, 2, 8}, false, "it answers ARP requests for the VIPs"}
}

// ARP requests of our own would carry a VIP as their sender.
func arpAnnounce(iface string) sysctlItem {
	return sysctlItem{iface, "ipv4", "arp_announce", 2, []int{2}, false, "its own ARP requests announce the VIPs"}
}

// The packets that the stack sees come from clients. If the way back leads over
// another interface the strict filter takes them for forged.
func reversePath(iface string) sysctlItem {
	return sysctlItem{iface, "ipv4", "rp_filter", 2, []int{0, 2}, false, "it drops clients whose way back is another interface"}
}

func ipv6Enabled(iface string) sysctlItem {
	return sysctlItem{iface, "ipv6", "disable_ipv6", 0, []int{0}, true, "it has no IPv6"}
}

// setting is the place of a value below /proc/sys/net.
func (i sysctlItem) setting(iface string) setting {
	return setting{Family: i.family, Interface: iface, Key: i.key}
}

func (i sysctlItem) keys() []string {
	own, all := i.setting(i.iface), i.setting("all")
	return []string{own.key(), all.key()}
}

// offender is the setting to change; nil if the two together will do.
func (i sysctlItem) offender() (*setting, int, error) {
	own := i.setting(i.iface)
	value, err := own.read()
	if err != nil {
		return nil, 0, err
	}
	if i.alone {
		return i.judge(&own, value, value)
	}
	all := i.setting("all")
	general, err := all.read()
	if err != nil {
		return nil, 0, err
	}
	// A value above what is wanted cannot be outvoted by the interface's.
	if general > i.want {
		return i.judge(&all, general, max(value, general))
	}
	return i.judge(&own, value, max(value, general))
}

func (i sysctlItem) judge(s *setting, value, effective int) (*setting, int, error) {
	if slices.Contains(i.fine, effective) {
		return nil, 0, nil
	}
	return s, value, nil
}

func (i sysctlItem) look() (*Problem, error) {
	s, value, err := i.offender()
	if s == nil || err != nil {
		return nil, err
	}
	return &Problem{
		What: fmt.Sprintf("%s is %d on %s: %s", i.key, value, s.Interface, i.why),
		Mend: fmt.Sprintf("sysctl -w %s=%d", s.name(), i.want),
	}, nil
}

func (i sysctlItem) record() (*record, error) {
	s, value, err := i.offender()
	if s == nil || err != nil {
		return nil, err
	}
	s.Value = value
	return &record{Setting: s}, nil
}

func (i sysctlItem) put(r *record) (string, error) {
	before, err := r.Setting.read()
	if err == nil {
		err = r.Setting.write(i.want)
	}
	return fmt.Sprintf("set %s=%d (was %d)", r.Setting.name(), i.want, before), err
}

// setting is a value of an interface and, in a record, what it was.
type setting struct {
	Family    string `json:"family"`
	Interface string `json:"interface"`
	Key       string `json:"key"`
	Value     int    `json:"value"`
}

func (s *setting) key() string { return "setting " + s.name() }

// name is the one that sysctl(8) takes. Where the interface's name has dots the
// parts are told apart by slashes.
func (s *setting) name() string {
	separator := "."
	if strings.Contains(s.Interface, ".") {
		separator = "/"
	}
	return strings.Join([]string{"net", s.Family, "conf", s.Interface, s.Key}, separator)
}

func (s *setting) path() string {
	return filepath.Join("/proc/sys/net", s.Family, "conf", s.Interface, s.Key)
}

func (s *setting) read() (int, error) {
	text, err := os.ReadFile(s.path())
	if err != nil {
		if s.Family == "ipv6" && errors.Is(err, os.ErrNotExist) {
			return 0, fmt.Errorf("this kernel runs without IPv6, which a VIP needs: %w", err)
		}
		return 0, fmt.Errorf("read setting: %w", err)
	}
	value, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read setting %s: %w", s.path(), err)
	}
	return value, nil
}

func (s *setting) write(value int) error {
	// Not created: the file of an interface that is gone is gone.
	f, err := os.OpenFile(s.path(), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("write setting: %w", err)
	}
	_, err = f.WriteString(strconv.Itoa(value))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write setting: %w", err)
	}
	return nil
}

// undo brings back the old value. Without its interface there is none.
func (s *setting) undo() (string, error) {
	err := s.write(s.Value)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return fmt.Sprintf("set %s back to %d", s.name(), s.Value), err
}
