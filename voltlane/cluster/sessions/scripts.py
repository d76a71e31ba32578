"""What the store does for sessions. Each may be asked again when its answer was lost.

session:<id>      a hash. owner: "<number of the server>:<its token>", "" for nobody. term: +1 with each take. state:
                  live, stale, free (given up), ended. credential: sealed. numbers: what is known of its packets.
                  retained: what is kept for its client, and exact: 1, where the owner has given it up with that.
opening:<handle>  the id of the session that was opened with it

A write says whose it is and under which term, and is refused where that is not so any more. Only the store gives terms:
one later than what stands there was given before the store lost the last of its memory, and is right. An owner is alive
while its token stands at its number (see `lease.scripts`). docs/model/ownership.pml is the model of this.
"""

from __future__ import annotations

from ..redis.script import Script

_WHO = """\
local function token(owner)
  return string.match(owner or '', ':(.*)$') or ''
end
local function mine(owner, me)
  return token(owner) ~= '' and token(owner) == token(me)
end
local function none(nodes, me)  -- nil; or 0, where it has forgotten our number as well, and so perhaps this
  if redis.call('GET', nodes .. string.match(me, '^%d+')) ~= token(me) then
    return 0
  end
  return nil
end
local function is_anothers(there, me, term)  -- there: owner and term, of which there may be none
  if not there[2] or tonumber(there[2]) < tonumber(term) then
    return false
  end
  return not (mine(there[1], me) and there[2] == term)
end
"""

WRITE = Script(
    _WHO
    + """\
-- KEYS: the session, its opening or ''. ARGV: me, term, state, credential, numbers, milliseconds, id.
-- Gives 1, 0 where it is not ours; or the id of another session that was opened with the same handle, and is there.
local there = redis.call('HMGET', KEYS[1], 'owner', 'term')
if is_anothers(there, ARGV[1], ARGV[2]) then
  return 0
end
if KEYS[2] ~= '' and not redis.call('SET', KEYS[2], ARGV[7], 'NX', 'PX', ARGV[6]) then
  local other = redis.call('GET', KEYS[2])
  if other ~= ARGV[7] then
    local state = redis.call('HGET', string.sub(KEYS[1], 1, -1 - #ARGV[7]) .. other, 'state')
    if state and state ~= 'ended' then
      return {other}
    end
  end
  redis.call('SET', KEYS[2], ARGV[7], 'PX', ARGV[6])
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'term', ARGV[2], 'state', ARGV[3], 'credential', ARGV[4],
  'numbers', ARGV[5], 'retained', '', 'exact', '0')
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 1
"""
)

REFRESH = Script(
    _WHO
    + """\
-- KEYS: sessions. ARGV: me, milliseconds or 0 for what they have, the term of each.
-- Gives for each 1, 0 where it is not ours, 2 where it is not there.
local found = {}
for at, key in ipairs(KEYS) do
  local there = redis.call('HMGET', key, 'owner', 'term')
  if not there[2] then
    found[at] = 2
  elseif mine(there[1], ARGV[1]) and there[2] == ARGV[2 + at] then
    if ARGV[2] ~= '0' then
      redis.call('PEXPIRE', key, ARGV[2])
    end
    found[at] = 1
  else
    found[at] = 0
  end
end
return found
"""
)

END = Script(
    _WHO
    + """\
-- KEYS: the session. ARGV: me, term, milliseconds. Gives 1, or 0 where it is another's.
local there = redis.call('HMGET', KEYS[1], 'owner', 'term', 'state')
if there[3] == 'ended' and there[2] == ARGV[2] then
  return 1
end
if is_anothers(there, ARGV[1], ARGV[2]) then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'owner', '', 'term', ARGV[2], 'state', 'ended')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
)

LOOK = Script(
    _WHO
    + """\
-- KEYS: the session, node:. ARGV: me.
-- Gives its owner, term, credential and numbers; nil where there is none; 0 where the store does not know us either.
local there = redis.call('HMGET', KEYS[1], 'state', 'owner', 'term', 'credential', 'numbers')
if not there[1] then
  return none(KEYS[2], ARGV[1])
elseif there[1] == 'ended' then
  return nil
end
return {there[2], there[3], there[4], there[5]}
"""
)

TAKE = Script(
    _WHO
    + """\
-- KEYS: the session, node:, ask:. ARGV: me, milliseconds, id, the term to take it by force under or "", my number.
-- Gives {1, term, exact, credential, numbers, retained}; {0, term} where its owner was asked for it; for none as LOOK.
local there = redis.call('HMGET', KEYS[1], 'state', 'owner', 'term', 'exact')
if not there[1] then
  return none(KEYS[2], ARGV[1])
elseif there[1] == 'ended' then
  return nil
end
local term, exact = there[3], there[4]
if not mine(there[2], ARGV[1]) then  -- else it is said again, and answered as before
  local number = string.match(there[2], '^(%d+):')
  local alive = number and redis.call('GET', KEYS[2] .. number) == token(there[2])
  if alive and term ~= ARGV[4] then
    redis.call('PUBLISH', KEYS[3] .. number, ARGV[3] .. ' ' .. term .. ' ' .. ARGV[5])
    return {0, term}
  end
  if there[1] ~= 'free' then
    exact = '0'
  end
  term = string.format('%.0f', term + 1)
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'term', term, 'state', 'stale', 'exact', exact)
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  if alive then  -- who has it no longer should know
    redis.call('PUBLISH', KEYS[3] .. number, ARGV[3] .. ' ' .. term .. ' ' .. ARGV[5])
  end
end
local rest = redis.call('HMGET', KEYS[1], 'credential', 'numbers', 'retained')
return {1, term, exact, rest[1], rest[2], rest[3]}
"""
)

RELEASE = Script(
    _WHO
    + """\
-- KEYS: the session, told:<number>. ARGV: me, term, credential, numbers, retained, milliseconds, id, exact, again.
-- Gives 1, or 0 where it is not ours. Where it is not exact there is nothing to be written, if there is none. Said
-- again to a store that has lost it since, it may have been taken meanwhile, and is exact no more.
local there = redis.call('HMGET', KEYS[1], 'owner', 'term')
if is_anothers(there, ARGV[1], ARGV[2]) or (ARGV[8] ~= '1' and not there[2]) then
  return 0
end
local exact, retained = ARGV[8], ARGV[5]
if ARGV[9] == '1' and not there[2] then
  exact, retained = '0', ''
end
redis.call('HSET', KEYS[1], 'owner', '', 'term', ARGV[2], 'state', 'free', 'exact', exact)
if ARGV[8] == '1' then
  redis.call('HSET', KEYS[1], 'credential', ARGV[3], 'numbers', ARGV[4], 'retained', retained)
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
redis.call('PUBLISH', KEYS[2], ARGV[7])
return 1
"""
)

SCRIPTS = (WRITE, REFRESH, END, LOOK, TAKE, RELEASE)
