"""The queue's Lua: every operation is one atomic script and one round trip, O(log n) in the number of jobs.

All keys start with KEYS[1], whose hash tag names the shard. A job is in exactly one state.
  job:<id>         hash: community, lane, cost, group, state, score, failures, token, started, since, reason, cancel
  ready:<lane>     zset of ids by fair-queueing tag; since:<lane> the same ids by arrival
  delayed, leases  zsets of ids by due time, by deadline (ms)
  dead             zset of ids by time of death
  groups           hash group -> the id that may run; parked:<group> zset of those that wait for it
  finish:<lane>    hash community -> its last tag, gone when the lane is empty
  communities      zset of communities by their jobs waiting (ready, delayed or parked)
  meta             hash: waiting, token, epoch, sequence, picks, v:<lane> (virtual time), service:<lane> (ms),
                   pace:<lane> (how quickly it moved of late)
  wake             list of at most one element: "something is ready"

What several jobs of one call share is read once and written once: a command inside a script costs as much as all the
Lua around it.
"""

from app.queue_lua import ADMIT, BASE, CHARGE, ENTER, EXPECTED, FAILING, HOLD, LEAVE, PACE, READY

ROOM = CHARGE + PACE + EXPECTED + ADMIT

SEND = BASE + ROOM + ENTER
SEND += """
local waiting, counts, finish, virtual = nil, {}, {}, {}
local ready, since, changed = {}, {}, false
local function send(id, community, lane, cost, group)
  if call('EXISTS', job_key(id)) == 1 then return {0} end
  if not waiting then
    local meta = call('HMGET', META, 'waiting', 'v:interactive', 'v:service', 'v:batch')
    waiting = tonumber(meta[1] or 0)
    for i, name in ipairs(LANES) do virtual[name] = tonumber(meta[i + 1] or 0) end
  end
  local own = counts[community] or tonumber(call('ZSCORE', COMMUNITIES, community) or 0)
  local full = admission(community, lane, waiting, own)
  if full[1] ~= 0 then return full end
  waiting, counts[community], changed = waiting + 1, own + 1, true
  if group ~= '' and park(id, group) then
    call('HSET', job_key(id), 'community', community, 'lane', lane, 'cost', cost, 'group', group,
      'failures', 0, 'since', now, 'state', 'parked')
    return {0}
  end
  if not ready[lane] then ready[lane], since[lane], finish[lane] = {}, {}, {} end
  local last = finish[lane][community] or tonumber(call('HGET', P .. 'finish:' .. lane, community) or 0)
  last = math.max(virtual[lane], last) + charge(community, cost)
  finish[lane][community] = last
  local score = text(last)
  call('HSET', job_key(id), 'community', community, 'lane', lane, 'cost', cost, 'group', group,
    'failures', 0, 'since', now, 'state', 'ready', 'score', score)
  local r, s = ready[lane], since[lane]
  r[#r + 1], s[#s + 1] = score, now
  r[#r + 1], s[#s + 1] = id, id
  return {0}
end
local reply = {}
for i = 1, #ARGV, 5 do reply[#reply + 1] = send(unpack(ARGV, i, i + 4)) end
if changed then
  call('HSET', META, 'waiting', waiting)
  local changes = {}
  for community, count in pairs(counts) do
    changes[#changes + 1] = count
    changes[#changes + 1] = community
  end
  call('ZADD', COMMUNITIES, unpack(changes))
end
for lane, list in pairs(ready) do
  call('ZADD', P .. 'ready:' .. lane, unpack(list))
  call('ZADD', P .. 'since:' .. lane, unpack(since[lane]))
  local tags = {}
  for community, last in pairs(finish[lane]) do
    tags[#tags + 1] = community
    tags[#tags + 1] = text(last)
  end
  call('HSET', P .. 'finish:' .. lane, unpack(tags))
end
if next(ready) then wake() end
return reply
"""

ADMISSION = BASE + ROOM
ADMISSION += """
local waiting = tonumber(call('HGET', META, 'waiting') or 0)
return admission(ARGV[1], ARGV[2], waiting, tonumber(call('ZSCORE', COMMUNITIES, ARGV[1]) or 0))
"""

TAKE = BASE + READY + FAILING + PACE
TAKE += """
-- ARGV: how many. Reply: ms until something is due or -1,
-- then of each lease: id, token, attempt, community, lane, cost, group, ms waited
local wanted = tonumber(ARGV[1])
local delayed, expiring = first(DELAYED), first(LEASES)
if delayed and delayed <= now then
  for _, id in ipairs(call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, 128)) do
    call('ZREM', DELAYED, id)
    local job = call('HMGET', job_key(id), 'lane', 'community', 'cost', 'score')
    make_ready(id, job[1], job[2], job[3], job[4])
  end
  delayed = first(DELAYED)
end
if expiring and expiring <= now then
  for _, id in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 128)) do
    call('ZREM', LEASES, id)
    fail_attempt(id, -1, 'The worker gave no sign of life.')
  end
  delayed, expiring = first(DELAYED), first(LEASES)
end

local meta = call('HMGET', META, 'epoch', 'token', 'picks', 'waiting', 'v:interactive', 'v:service', 'v:batch',
  'pace:interactive', 'pace:service', 'pace:batch')
if not meta[1] then call('HSET', META, 'epoch', text(now_us)) end
local token, picks = tonumber(meta[2] or 0), tonumber(meta[3] or 0)
local lanes, left = {}, 0
for i, lane in ipairs(LANES) do
  local ready = call('ZCARD', P .. 'ready:' .. lane)
  lanes[lane] = {ready = ready, virtual = tonumber(meta[4 + i] or 0), taken = 0, pace = meta[7 + i]}
  left = left + ready
end

-- Strict order of lanes, except that of eight places in a row some are promised to a lane once its oldest job has
-- waited `from` of its bound: enough to keep it near the bound, too few to hold up residents who are watching.
local PLACES = {[1] = {lane = 'service', from = .05}, [5] = {lane = 'service', from = .05},
  [3] = {lane = 'service', from = .1}, [7] = {lane = 'batch', from = .25}, [0] = {lane = 'batch', from = .5}}
local function waited(lane)
  return lanes[lane].ready > 0 and (now - first(P .. 'since:' .. lane)) / WAIT_MS[lane] or 0
end
local waits, aging = {service = waited('service'), batch = waited('batch')}, false
for _, place in pairs(PLACES) do aging = aging or waits[place.lane] > place.from end
local function choose()
  local promised = aging and PLACES[picks % 8]
  if promised and waited(promised.lane) > promised.from then return promised.lane end
  for _, lane in ipairs(LANES) do
    if lanes[lane].ready > 0 then return lane end
  end
end

local reply, taken, deadlines, counts = {-1}, 0, {}, {}
while taken < wanted and left > 0 do
  local lane = choose()
  local state = lanes[lane]
  local popped = call('ZPOPMIN', P .. 'ready:' .. lane, aging and 1 or wanted - taken)
  local ids = {}
  for i = 1, #popped, 2 do
    local id = popped[i]
    local job = call('HMGET', job_key(id), 'community', 'cost', 'group', 'failures', 'since')
    token = math.max(token + 1, now_us)
    local written = text(token)
    call('HSET', job_key(id), 'state', 'leased', 'token', written, 'started', now)
    ids[#ids + 1] = id
    deadlines[#deadlines + 1] = now + LEASE_MS
    deadlines[#deadlines + 1] = id
    counts[job[1]] = (counts[job[1]] or 0) + 1
    state.virtual = math.max(state.virtual, popped[i + 1] - charge(job[1], job[2]))
    for _, value in ipairs({id, written, job[4] + 1, job[1], lane, job[2], job[3], now - job[5]}) do
      reply[#reply + 1] = value
    end
  end
  call('ZREM', P .. 'since:' .. lane, unpack(ids))
  local n = #ids
  state.ready, state.taken, picks, taken, left = state.ready - n, state.taken + n, picks + n, taken + n, left - n
end

if taken > 0 then
  call('ZADD', LEASES, unpack(deadlines))
  expiring = expiring or now + LEASE_MS
  local running
  local written = {'token', text(token), 'picks', picks % 8, 'waiting', tonumber(meta[4] or 0) - taken}
  for i, lane in ipairs(LANES) do
    local state = lanes[lane]
    if state.taken > 0 then
      if state.ready == 0 then call('DEL', P .. 'finish:' .. lane) end
      local pace = read_pace(state.pace)
      if pace.at > 0 then
        local kept = 0.95 ^ state.taken
        pace.starts = pace.starts * kept + state.taken
        pace.ms = pace.ms * kept + now - pace.at
        pace.virtual = pace.virtual * kept + state.virtual - tonumber(meta[4 + i] or 0)
      end
      if state.ready > 0 then
        running = running or call('ZCARD', LEASES)
        pace.width = running
      end
      written[#written + 1] = 'v:' .. lane
      written[#written + 1] = text(state.virtual)
      written[#written + 1] = 'pace:' .. lane
      written[#written + 1] = string.format('%d %.6g %.6g %.6g %d', state.ready > 0 and now or 0, pace.starts, pace.ms,
        pace.virtual, pace.width)
    end
  end
  call('HSET', META, unpack(written))
  for community, count in pairs(counts) do
    if tonumber(call('ZINCRBY', COMMUNITIES, -count, community)) <= 0 then call('ZREM', COMMUNITIES, community) end
  end
end
-- At most one element: it wakes one more worker while something is left, and nobody in vain.
if left > 0 then wake() else call('DEL', WAKE) end
for _, due in pairs({delayed or expiring, expiring}) do
  local ms = math.max(0, due - now + 1)
  if reply[1] < 0 or ms < reply[1] then reply[1] = ms end
end
return reply
"""

RENEW = BASE + READY + LEAVE + HOLD
RENEW += """
local reply = {}
for i = 1, #ARGV, 7 do
  if hold(i) then
    call('ZADD', LEASES, now + LEASE_MS, ARGV[i])
    reply[#reply + 1] = 1
  else
    reply[#reply + 1] = 0
  end
end
return reply
"""

FINISH = BASE + READY + LEAVE + HOLD
FINISH += """
local ids, keys, done, service = {}, {}, {}, {}
local function finish(i)
  local id = ARGV[i]
  if done[id] then return 0 end
  local key = job_key(id)
  local job = call('HMGET', key, 'state', 'token', 'lane', 'group', 'started')
  if job[1] ~= 'leased' or tonumber(job[2]) ~= tonumber(ARGV[i + 1]) then
    if not hold(i) then return 0 end
    job = call('HMGET', key, 'state', 'token', 'lane', 'group', 'started')
  end
  done[id], ids[#ids + 1], keys[#keys + 1] = true, id, key
  if job[4] ~= '' then release(id, job[4]) end
  local field, took = 'service:' .. job[3], now - job[5]
  local before = service[field] or tonumber(call('HGET', META, field) or took)
  service[field] = before * 0.9 + took * 0.1
  return 1
end
local reply = {}
for i = 1, #ARGV, 7 do reply[#reply + 1] = finish(i) end
if #ids > 0 then
  call('ZREM', LEASES, unpack(ids))
  call('DEL', unpack(keys))
  for field, ms in pairs(service) do call('HSET', META, field, text(ms)) end
end
return reply
"""

RETRY = BASE + READY + LEAVE + FAILING + HOLD
RETRY += """
-- ARGV: lease, delay in ms (< 0: back-off), whether the attempt counts, reason. 0: not ours; 1: runs again; 2: dead
if not hold(1) then return 0 end
call('ZREM', LEASES, ARGV[1])
if ARGV[9] == '1' then return fail_attempt(ARGV[1], tonumber(ARGV[8]), ARGV[10]) and 1 or 2 end
put_back(ARGV[1], math.max(0, tonumber(ARGV[8])))
return 1
"""

FAIL = BASE + READY + LEAVE + FAILING + HOLD
FAIL += """
if not hold(1) then return 0 end
call('ZREM', LEASES, ARGV[1])
call('HINCRBY', job_key(ARGV[1]), 'failures', 1)
bury(ARGV[1], call('HGET', job_key(ARGV[1]), 'group'), ARGV[8])
return 1
"""

CANCEL = BASE + READY + LEAVE
CANCEL += """
local id = ARGV[1]
local job = call('HMGET', job_key(id), 'state', 'lane', 'group', 'community')
if not job[1] or job[1] == 'dead' then return 0 end
if job[1] == 'leased' then
  call('HSET', job_key(id), 'cancel', 1)
  call('PUBLISH', P .. 'cancel', id)
  return 2
end
unwait(id, job[1], job[2], job[3], job[4])
call('DEL', job_key(id))
release(id, job[3])
return 1
"""

CANCELLED = BASE
CANCELLED += """
local reply = {}
for i, id in ipairs(ARGV) do reply[i] = call('HEXISTS', job_key(id), 'cancel') end
return reply
"""

POSITION = BASE + CHARGE + PACE + EXPECTED
POSITION += """
-- Reply: jobs that start before this one, ms until it starts; nothing when it is not here.
local function ahead_of(id, job)
  local ahead = 0
  for _, lane in ipairs(LANES) do
    if lane == job[2] then return ahead + (call('ZRANK', P .. 'ready:' .. lane, id) or 0) end
    ahead = ahead + call('ZCARD', P .. 'ready:' .. lane)
  end
end

local function place(id, deep)
  local job = call('HMGET', job_key(id), 'state', 'lane', 'group', 'score', 'cost', 'community')
  local state = job[1]
  if not state or state == 'dead' then return nil end
  if state == 'leased' then return {0, 0} end
  if state == 'delayed' then return {0, math.max(0, call('ZSCORE', DELAYED, id) - now)} end
  if state == 'ready' then
    local ahead = ahead_of(id, job)
    local virtual = tonumber(call('HGET', META, 'v:' .. job[2]) or 0)
    return {ahead, expected_ms(job[2], ahead + 1, math.max(0, job[4] - charge(job[6], job[5]) - virtual))}
  end
  -- Parked: those of its conversation go before it, one after the other, each for a whole service time.
  local before = call('ZRANK', P .. 'parked:' .. job[3], id) or 0
  local service = tonumber(call('HGET', META, 'service:' .. job[2]) or 3000)
  local owner = not deep and place(call('HGET', GROUPS, job[3]), true) or {0, 0}
  return {owner[1] + before + 1, math.ceil(owner[2] + (before + 1) * service)}
end
return place(ARGV[1], false) or {}
"""

STATS = BASE + PACE + EXPECTED
STATS += """
-- Reply: of each lane ready, ms of the oldest wait, ms until the last in line starts;
-- then waiting, delayed, leased, dead; the communities most waiting
local reply, ahead = {}, 0
for _, lane in ipairs(LANES) do
  local oldest, ready = first(P .. 'since:' .. lane), call('ZCARD', P .. 'ready:' .. lane)
  ahead = ahead + ready
  local last = call('ZREVRANGE', P .. 'ready:' .. lane, 0, 0, 'WITHSCORES')[2]
  local virtual = last and math.max(0, last - (call('HGET', META, 'v:' .. lane) or 0))
  reply[#reply + 1] = ready
  reply[#reply + 1] = oldest and now - oldest or 0
  reply[#reply + 1] = last and expected_ms(lane, ahead, virtual) or 0
end
for _, count in ipairs({call('HGET', META, 'waiting') or 0, call('ZCARD', DELAYED), call('ZCARD', LEASES),
    call('ZCARD', DEAD)}) do
  reply[#reply + 1] = tonumber(count)
end
reply[#reply + 1] = call('ZREVRANGE', COMMUNITIES, 0, ARGV[1] - 1, 'WITHSCORES')
return reply
"""

DEAD_LIST = BASE
DEAD_LIST += """
local reply = {}
for _, id in ipairs(call('ZREVRANGE', DEAD, 0, ARGV[1] - 1)) do
  local job = call('HMGET', job_key(id), 'community', 'lane', 'cost', 'group', 'failures', 'reason', 'since')
  reply[#reply + 1] = {id, unpack(job)}
end
return reply
"""

REPLAY = BASE + READY + ENTER
REPLAY += """
local id = ARGV[1]
if call('ZREM', DEAD, id) == 0 then return 0 end
local job = call('HMGET', job_key(id), 'community', 'lane', 'cost', 'group')
call('HSET', job_key(id), 'failures', 0, 'since', now)
call('HDEL', job_key(id), 'reason', 'cancel')
count_waiting(job[1], 1)
if job[4] ~= '' and park(id, job[4]) then
  call('HSET', job_key(id), 'state', 'parked')
else
  make_ready(id, job[2], job[1], job[3], nil)
end
return 1
"""
