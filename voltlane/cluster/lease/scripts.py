"""What the store does for leases. Each may be asked again when its answer was lost.

node:<n>   the token of the server that has the number n; it is gone when its time is over
ids:<n>    up to where ids of that number may have been given out, in their ticks; it stays
terms      the term of the last lease
"""

from __future__ import annotations

from ..redis.script import Script

TAKE = Script("""\
-- KEYS: node:, ids:, terms. ARGV: token, milliseconds, the number to try first, ticks of the clock, ticks of a lease.
-- Gives the number, its term, and up to where its ids are used; or 0 where others have all of them.
for step = 0, 255 do
  local number = (ARGV[3] + step) % 256
  local holder = redis.call('GET', KEYS[1] .. number)
  if not holder or holder == ARGV[1] then
    local used = math.max(tonumber(redis.call('GET', KEYS[2] .. number) or 0), ARGV[4] - 1)
    redis.call('SET', KEYS[2] .. number, string.format('%.0f', used + ARGV[5]))
    redis.call('SET', KEYS[1] .. number, ARGV[1], 'PX', ARGV[2])
    return {number, redis.call('INCR', KEYS[3]), string.format('%.0f', used)}
  end
end
return 0
""")

RENEW = Script("""\
-- KEYS: node:<n>, ids:<n>. ARGV: token, milliseconds, ticks up to which ids may be given out by then.
-- Gives 1, or 0 where the number is not ours any more.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if tonumber(ARGV[3]) > tonumber(redis.call('GET', KEYS[2]) or 0) then
  redis.call('SET', KEYS[2], ARGV[3])
end
return 1
""")

RELEASE = Script("""\
-- KEYS: node:<n>. ARGV: token. Gives 1, or 0 where the number was not ours.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
""")

SCRIPTS = (TAKE, RENEW, RELEASE)
