;; A policy that does what a question asks for by its source port.
(module
  (import "xlb" "log" (func $log (param i32 i32 i32)))
  (import "xlb" "count" (func $count (param i32 i64)))
  (import "xlb" "table_lookup" (func $lookup (param i32 i64 i64) (result i64)))
  (import "xlb" "conn_write" (func $write (param i32 i32) (result i32)))
  (import "xlb" "conn_read" (func $read (param i32 i32) (result i32)))
  (import "xlb" "set_reason" (func $set_reason (param i32 i32)))
  (import "xlb" "set_role" (func $set_role (param i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "PING\r\n")
  (data (i32.const 16) "no pong")
  (data (i32.const 32) "primary")
  (data (i32.const 48) "too long")
  (data (i32.const 64) "hello")
  ;; What the host passes is put here.
  (global $buffer i32 (i32.const 4096))
  (global $calls (mut i64) (i64.const 0))
  (global $configured (mut i64) (i64.const 0))
  (global $hour (mut i64) (i64.const 0))

  (func (export "xlb_abi_version") (result i32) (i32.const 1))

  (func (export "alloc") (param $size i32) (result i32)
    (select (i32.const 0) (global.get $buffer) (i32.gt_u (local.get $size) (i32.const 100000))))

  ;; More than 20 bytes of configuration are refused.
  (func (export "validate") (param $at i32) (param $length i32) (result i64)
    (if (result i64) (i32.gt_u (local.get $length) (i32.const 20))
      (then (i64.or (i64.shl (i64.const 48) (i64.const 32)) (i64.const 8)))
      (else (i64.const 0))))

  (func (export "configure") (param $at i32) (param $length i32) (param $wall i64) (param $mono i64) (result i32)
    (global.set $configured (i64.extend_i32_u (local.get $length)))
    (global.set $hour (i64.rem_u (i64.div_u (local.get $wall) (i64.const 3600000000000)) (i64.const 24)))
    (i32.const 0))

  (func $verdict (param $action i64) (param $reason i64) (param $operand i64) (result i64)
    (i64.or (local.get $action)
      (i64.or (i64.shl (local.get $reason) (i64.const 16)) (i64.shl (local.get $operand) (i64.const 32)))))

  (func (export "flow")
    (param $src_hi i64) (param $src_lo i64) (param $dst_hi i64) (param $dst_lo i64) (param $src_port i32) (param $dst_port i32)
    (param $protocol i32) (param $flags i32) (param $hash i64) (param $backends i32) (result i64)
    (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
    (call $count (i32.const 0) (i64.const 1))
    (if (i64.ge_s (call $lookup (i32.const 0) (local.get $src_hi) (local.get $src_lo)) (i64.const 0))
      (then (return (call $verdict (i64.const 1) (i64.const 1) (i64.const 0)))))
    (if (i32.eq (local.get $src_port) (i32.const 1)) (then (call $log (i32.const 1) (i32.const 64) (i32.const 5)) (unreachable)))
    (if (i32.eq (local.get $src_port) (i32.const 2)) (then (loop $forever (br $forever))))
    (if (i32.eq (local.get $src_port) (i32.const 3)) (then (return (call $verdict (i64.const 4) (i64.const 0) (i64.const 1)))))
    (if (i32.eq (local.get $src_port) (i32.const 4)) (then (return (call $verdict (i64.const 5) (i64.const 0) (i64.and (local.get $hash) (i64.const 0xffffffff))))))
    (if (i32.eq (local.get $src_port) (i32.const 5))
      (then (return (call $verdict (i64.const 3) (i64.const 0) (i64.extend_i32_u (i32.sub (local.get $backends) (i32.const 1)))))))
    (if (i32.eq (local.get $src_port) (i32.const 6)) (then (return (call $verdict (i64.const 2) (global.get $calls) (i64.const 0)))))
    (if (i32.eq (local.get $src_port) (i32.const 7)) (then (return (call $verdict (i64.const 1) (global.get $hour) (i64.const 0)))))
    (if (i32.eq (local.get $src_port) (i32.const 8)) (then (return (call $verdict (i64.const 1) (global.get $configured) (i64.const 0)))))
    (if (i32.eq (local.get $src_port) (i32.const 9)) (then (return (call $verdict (i64.const 1) (i64.extend_i32_u (local.get $flags)) (i64.const 0)))))
    (i64.const 0))

  ;; Doubles weights, puts zone-less backends into tier 3, ejects what has errors.
  (func (export "weigh") (param $at i32) (param $count i32) (param $size i32) (result i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (if (i32.load offset=20 (local.get $at))
          (then (i32.store offset=80 (local.get $at) (i32.mul (i32.load offset=20 (local.get $at)) (i32.const 2)))))
        (if (i32.eqz (i32.load offset=32 (local.get $at))) (then (i32.store offset=84 (local.get $at) (i32.const 3))))
        (if (i64.ne (i64.load offset=72 (local.get $at)) (i64.const 0))
          (then
            (i32.store offset=88 (local.get $at) (i32.const 1))
            (i32.store offset=92 (local.get $at) (i32.const 2))))
        (local.set $at (i32.add (local.get $at) (i32.const 96)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  ;; PING, and an answer that begins with "+".
  (func (export "probe") (param $timeout i32) (result i32)
    (drop (call $write (i32.const 0) (i32.const 6)))
    (if (i32.le_s (call $read (global.get $buffer) (i32.const 7)) (i32.const 0))
      (then (call $set_reason (i32.const 16) (i32.const 7)) (return (i32.const 1))))
    (if (i32.ne (i32.load8_u (global.get $buffer)) (i32.const 43))
      (then (call $set_reason (i32.const 16) (i32.const 7)) (return (i32.const 1))))
    (call $set_role (i32.const 32) (i32.const 7))
    (i32.const 0)))
