"""The queue's Lua: every operation is one atomic script and one round trip, O(log n) in the number of jobs.

All keys start with KEYS[1], whose hash tag names the shard. A job is in exactly one state.
  job:<id>         hash: community, lane, cost, group, state, score, failures, token, started, since, reason, cancel
  ready:<lane>     zset of ids by fair-queueing tag; since:<lane> the same ids by arrival
  delayed, leases  zsets of ids by due time, by deadline (ms)
  dead             zset of ids by time of death
  groups           hash group -> the id that may run; parked:<group> zset of those that wait for it
  finish:<lane>    hash community -> its last tag, gone when the lane is empty
  waiting          hash community -> jobs waiting (ready, delayed or parked)
  meta             hash: waiting, token, epoch, sequence, picks, v:<lane> (virtual time), service:<lane> (ms)
  wake             list of at most one element: "something is ready"
"""

PRELUDE = """
local P = KEYS[1]
local META, LEASES, DELAYED, DEAD = P .. 'meta', P .. 'leases', P .. 'delayed', P .. 'dead'
local GROUPS, WAITING, WAKE = P .. 'groups', P .. 'waiting', P .. 'wake'
local LANES = {'interactive', 'service', 'batch'}
local call = redis.call
local clock = call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now = math.floor(now_us / 1000)

local function text(number) return string.format('%.17g', number) end
local function job_key(id) return P .. 'job:' .. id end
local function charge(community, cost) return cost / (WEIGHTS[community] or 1) end

local function wake()
  if call('LLEN', WAKE) == 0 then call('RPUSH', WAKE, '1') end
end
local function count_waiting(community, by)
  call('HINCRBY', META, 'waiting', by)
  if call('HINCRBY', WAITING, community, by) <= 0 then call('HDEL', WAITING, community) end
end
-- A job that was ready before keeps its tag, so that a retry is not charged to its community twice.
local function make_ready(id, lane, community, cost, score)
  if not score then
    local virtual = tonumber(call('HGET', META, 'v:' .. lane) or 0)
    local last = tonumber(call('HGET', P .. 'finish:' .. lane, community) or 0)
    score = text(math.max(virtual, last) + charge(community, cost))
    call('HSET', P .. 'finish:' .. lane, community, score)
  end
  call('HSET', job_key(id), 'state', 'ready', 'score', score)
  call('ZADD', P .. 'ready:' .. lane, score, id)
  call('ZADD', P .. 'since:' .. lane, now, id)
  wake()
end
-- A job starts to wait: ready, or parked while its conversation has another one.
local function enter(id, community, lane, cost, group)
  count_waiting(community, 1)
  if group ~= '' then
    local owner = call('HGET', GROUPS, group)
    if owner and call('EXISTS', job_key(owner)) == 1 then
      call('HSET', job_key(id), 'state', 'parked')
      call('ZADD', P .. 'parked:' .. group, call('HINCRBY', META, 'sequence', 1), id)
      return
    end
    call('HSET', GROUPS, group, id)
  end
  make_ready(id, lane, community, cost, nil)
end
-- Takes a job out of whichever waiting place it is in.
local function leave(id, state, lane, group)
  if state == 'ready' then
    call('ZREM', P .. 'ready:' .. lane, id)
    call('ZREM', P .. 'since:' .. lane, id)
  elseif state == 'delayed' then call('ZREM', DELAYED, id)
  elseif state == 'parked' then call('ZREM', P .. 'parked:' .. group, id) end
end
local function unwait(id, state, lane, group, community)
  leave(id, state, lane, group)
  count_waiting(community, -1)
end
-- The next job of a conversation becomes ready when the one before it has left.
local function release(id, group)
  if group == '' or call('HGET', GROUPS, group) ~= id then return end
  local following = call('ZPOPMIN', P .. 'parked:' .. group)[1]
  if not following then call('HDEL', GROUPS, group) return end
  call('HSET', GROUPS, group, following)
  local job = call('HMGET', job_key(following), 'lane', 'community', 'cost', 'score')
  make_ready(following, job[1], job[2], job[3], job[4])
end
local function bury(id, group, reason)
  call('HSET', job_key(id), 'state', 'dead', 'reason', reason, 'since', now)
  call('ZADD', DEAD, now, id)
  if call('ZCARD', DEAD) > DEAD_MAX then
    local oldest = call('ZPOPMIN', DEAD)[1]
    call('DEL', job_key(oldest))
  end
  release(id, group)
end
local function put_back(id, delay_ms)
  local job = call('HMGET', job_key(id), 'lane', 'community', 'cost', 'score')
  count_waiting(job[2], 1)
  if delay_ms <= 0 then return make_ready(id, job[1], job[2], job[3], job[4]) end
  call('HSET', job_key(id), 'state', 'delayed')
  call('ZADD', DELAYED, now + delay_ms, id)
  wake() -- so that whoever waits learns the new due time
end
-- After a failed attempt. delay_ms < 0 asks for exponential back-off. Says whether the job will run again.
local function fail_attempt(id, delay_ms, reason)
  local failures = call('HINCRBY', job_key(id), 'failures', 1)
  if failures >= ATTEMPTS_MAX then
    bury(id, call('HGET', job_key(id), 'group'), reason)
    return false
  end
  if delay_ms < 0 then delay_ms = math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ^ (failures - 1)) end
  put_back(id, math.floor(delay_ms))
  return true
end

-- Tokens are at least the time of their issue, so one older than this data, or newer than its counter,
-- was issued by data that is lost.
local function forgotten(token)
  local meta = call('HMGET', META, 'epoch', 'token')
  if not meta[1] then
    call('HSET', META, 'epoch', text(now_us))
    return true
  end
  return token < tonumber(meta[1]) or token > tonumber(meta[2] or 0)
end

local function move_aside(owner, group)
  local job = call('HMGET', job_key(owner), 'state', 'lane')
  if job[1] == 'leased' then return false end
  if job[1] then
    leave(owner, job[1], job[2], group)
    call('HSET', job_key(owner), 'state', 'parked')
    call('ZADD', P .. 'parked:' .. group, 0, owner)
  end
  return true
end

-- Whether the lease given at ARGV[i..i+6] (id, token, community, lane, cost, group, attempt) still holds.
-- One that Redis forgot is written again, unless somebody else has the job or its conversation.
local function hold(i)
  local id, token, community, lane, group = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3], ARGV[i + 5]
  local job = call('HMGET', job_key(id), 'state', 'token')
  if job[1] == 'leased' and tonumber(job[2]) == token then return true end
  if not forgotten(token) or job[1] == 'dead' then return false end
  if job[1] == 'leased' and tonumber(job[2]) > token then return false end
  if group ~= '' then
    local owner = call('HGET', GROUPS, group)
    if owner and owner ~= id and not move_aside(owner, group) then return false end
    call('HSET', GROUPS, group, id)
  end
  if job[1] and job[1] ~= 'leased' then unwait(id, job[1], lane, group, community) end
  call('HSET', job_key(id), 'state', 'leased', 'token', ARGV[i + 1], 'community', community, 'lane', lane,
    'cost', ARGV[i + 4], 'group', group, 'failures', ARGV[i + 6] - 1, 'started', now, 'since', now)
  call('HSETNX', job_key(id), 'score', call('HGET', META, 'v:' .. lane) or '0')
  call('ZADD', LEASES, now + LEASE_MS, id)
  if token > tonumber(call('HGET', META, 'token') or 0) then call('HSET', META, 'token', ARGV[i + 1]) end
  return true
end

local function expected_ms(lane, jobs)
  local service = tonumber(call('HGET', META, 'service:' .. lane) or 3000)
  return math.ceil(jobs * service / math.max(1, call('ZCARD', LEASES)))
end

-- {0} when there is room, else {1 in all | 2 of this community, waiting, ms until it is worth asking again}
local function admission(community, lane)
  local share = lane == 'batch' and 0.5 or 1 -- a thousand documents must not turn the residents' questions away
  local waiting = tonumber(call('HGET', META, 'waiting') or 0)
  if waiting >= WAITING_MAX * share then return {1, waiting, expected_ms(lane, waiting / 4)} end
  waiting = tonumber(call('HGET', WAITING, community) or 0)
  if waiting >= COMMUNITY_MAX * share then return {2, waiting, expected_ms(lane, waiting / 4)} end
  return {0}
end
"""

SEND = """
local function send(id, community, lane, cost, group)
  if call('EXISTS', job_key(id)) == 1 then return {0} end
  local full = admission(community, lane)
  if full[1] ~= 0 then return full end
  call('HSET', job_key(id), 'community', community, 'lane', lane, 'cost', cost, 'group', group,
    'failures', 0, 'since', now)
  enter(id, community, lane, cost, group)
  return {0}
end
local reply = {}
for i = 1, #ARGV, 5 do reply[#reply + 1] = send(unpack(ARGV, i, i + 4)) end
return reply
"""

ADMISSION = "return admission(ARGV[1], ARGV[2])"

TAKE = """
-- ARGV: how many. Reply: ms until something is due or -1,
-- then of each lease: id, token, attempt, community, lane, cost, group, ms waited
local wanted = tonumber(ARGV[1])
for _, id in ipairs(call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, 128)) do
  call('ZREM', DELAYED, id)
  local job = call('HMGET', job_key(id), 'lane', 'community', 'cost', 'score')
  make_ready(id, job[1], job[2], job[3], job[4])
end
for _, id in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 128)) do
  call('ZREM', LEASES, id)
  fail_attempt(id, -1, 'The worker gave no sign of life.')
end

local meta = call('HMGET', META, 'epoch', 'token', 'picks', 'v:interactive', 'v:service', 'v:batch')
if not meta[1] then call('HSET', META, 'epoch', text(now_us)) end
local token, picks = tonumber(meta[2] or 0), tonumber(meta[3] or 0)
local lanes = {}
for i, lane in ipairs(LANES) do
  lanes[lane] = {ready = call('ZCARD', P .. 'ready:' .. lane), virtual = tonumber(meta[3 + i] or 0)}
end

local function overdue(lane)
  if lanes[lane].ready == 0 then return false end
  return now - call('ZRANGE', P .. 'since:' .. lane, 0, 0, 'WITHSCORES')[2] > WAIT_MS[lane]
end

-- Strict order of lanes, except that a lane whose oldest job waited too long gets some places for certain:
-- enough not to starve, too few to hold up residents who are watching.
local function choose()
  if picks % 8 == 7 and overdue('batch') then return 'batch' end
  if picks % 4 == 3 and overdue('service') then return 'service' end
  for _, lane in ipairs(LANES) do
    if lanes[lane].ready > 0 then return lane end
  end
end

local reply, taken = {-1}, 0
while taken < wanted do
  local lane = choose()
  if not lane then break end
  local popped = call('ZPOPMIN', P .. 'ready:' .. lane)
  local id = popped[1]
  lanes[lane].ready = lanes[lane].ready - 1
  call('ZREM', P .. 'since:' .. lane, id)
  local job = call('HMGET', job_key(id), 'community', 'cost', 'group', 'failures', 'since')
  token = math.max(token + 1, now_us)
  local written = text(token)
  call('HSET', job_key(id), 'state', 'leased', 'token', written, 'started', now)
  call('ZADD', LEASES, now + LEASE_MS, id)
  count_waiting(job[1], -1)
  lanes[lane].virtual = math.max(lanes[lane].virtual, popped[2] - charge(job[1], job[2]))
  lanes[lane].touched = true
  picks, taken = picks + 1, taken + 1
  for _, value in ipairs({id, written, job[4] + 1, job[1], lane, job[2], job[3], now - job[5]}) do
    reply[#reply + 1] = value
  end
end

local left = 0
for _, lane in ipairs(LANES) do
  local state = lanes[lane]
  left = left + state.ready
  if state.touched then
    call('HSET', META, 'v:' .. lane, text(state.virtual))
    if state.ready == 0 then call('DEL', P .. 'finish:' .. lane) end
  end
end
if taken > 0 then call('HSET', META, 'token', text(token), 'picks', picks % 8) end
-- At most one element: it wakes one more worker while something is left, and nobody in vain.
if left > 0 then wake() else call('DEL', WAKE) end
for _, key in ipairs({DELAYED, LEASES}) do
  local due = call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  if due then
    local ms = math.max(0, due - now + 1)
    if reply[1] < 0 or ms < reply[1] then reply[1] = ms end
  end
end
return reply
"""

RENEW = """
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

FINISH = """
local function finish(i)
  if not hold(i) then return 0 end
  local id = ARGV[i]
  local job = call('HMGET', job_key(id), 'lane', 'group', 'started')
  call('ZREM', LEASES, id)
  call('DEL', job_key(id))
  release(id, job[2])
  local field, took = 'service:' .. job[1], now - job[3]
  local before = tonumber(call('HGET', META, field) or took)
  call('HSET', META, field, text(before * 0.9 + took * 0.1))
  return 1
end
local reply = {}
for i = 1, #ARGV, 7 do reply[#reply + 1] = finish(i) end
return reply
"""

RETRY = """
-- ARGV: lease, delay in ms (< 0: back-off), whether the attempt counts, reason. 0: not ours; 1: runs again; 2: dead
if not hold(1) then return 0 end
call('ZREM', LEASES, ARGV[1])
if ARGV[9] == '1' then return fail_attempt(ARGV[1], tonumber(ARGV[8]), ARGV[10]) and 1 or 2 end
put_back(ARGV[1], math.max(0, tonumber(ARGV[8])))
return 1
"""

FAIL = """
if not hold(1) then return 0 end
call('ZREM', LEASES, ARGV[1])
call('HINCRBY', job_key(ARGV[1]), 'failures', 1)
bury(ARGV[1], call('HGET', job_key(ARGV[1]), 'group'), ARGV[8])
return 1
"""

CANCEL = """
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

CANCELLED = """
local reply = {}
for i, id in ipairs(ARGV) do reply[i] = call('HEXISTS', job_key(id), 'cancel') end
return reply
"""

POSITION = """
local function ahead_of(id, job)
  local ahead = 0
  for _, lane in ipairs(LANES) do
    if lane == job[2] then return ahead + (call('ZRANK', P .. 'ready:' .. lane, id) or 0) end
    ahead = ahead + call('ZCARD', P .. 'ready:' .. lane)
  end
end

local function place(id, deep)
  local job = call('HMGET', job_key(id), 'state', 'lane', 'group')
  local state = job[1]
  if not state or state == 'dead' then return nil end
  if state == 'leased' then return {0, 0} end
  if state == 'delayed' then return {0, math.max(0, call('ZSCORE', DELAYED, id) - now)} end
  if state == 'ready' then
    local ahead = ahead_of(id, job)
    return {ahead, expected_ms(job[2], ahead + 1)}
  end
  -- Parked: those of its conversation go before it, one after the other, each for a whole service time.
  local before = call('ZRANK', P .. 'parked:' .. job[3], id) or 0
  local service = tonumber(call('HGET', META, 'service:' .. job[2]) or 3000)
  local owner = not deep and place(call('HGET', GROUPS, job[3]), true) or {0, 0}
  return {owner[1] + before + 1, math.ceil(owner[2] + (before + 1) * service)}
end
return place(ARGV[1], false) or {}
"""

STATS = """
local reply = {}
for _, lane in ipairs(LANES) do
  local oldest = call('ZRANGE', P .. 'since:' .. lane, 0, 0, 'WITHSCORES')[2]
  reply[#reply + 1] = call('ZCARD', P .. 'ready:' .. lane)
  reply[#reply + 1] = oldest and now - oldest or 0
end
for _, count in ipairs({call('HGET', META, 'waiting') or 0, call('ZCARD', DELAYED), call('ZCARD', LEASES),
    call('ZCARD', DEAD)}) do
  reply[#reply + 1] = tonumber(count)
end
return reply
"""

DEAD_LIST = """
local reply = {}
for _, id in ipairs(call('ZREVRANGE', DEAD, 0, ARGV[1] - 1)) do
  local job = call('HMGET', job_key(id), 'community', 'lane', 'cost', 'group', 'failures', 'reason', 'since')
  reply[#reply + 1] = {id, unpack(job)}
end
return reply
"""

REPLAY = """
local id = ARGV[1]
if call('ZREM', DEAD, id) == 0 then return 0 end
local job = call('HMGET', job_key(id), 'community', 'lane', 'cost', 'group')
call('HSET', job_key(id), 'failures', 0, 'since', now)
call('HDEL', job_key(id), 'reason', 'cancel')
enter(id, job[1], job[2], job[3], job[4])
return 1
"""
