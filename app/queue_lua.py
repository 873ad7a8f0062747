"""The parts that the queue's scripts are put together from; `queue_scripts.py` has the operations and the keys.

A script is compiled with its constants before it. Each gets only the parts it needs: making a Lua
function costs as much as reading a key, and they are made anew at each call.
"""

import hashlib
from dataclasses import dataclass
from uuid import UUID

from app.settings import Settings

BASE = """
local P = KEYS[1]
local META, LEASES, DELAYED, DEAD = P .. 'meta', P .. 'leases', P .. 'delayed', P .. 'dead'
local GROUPS, COMMUNITIES, WAKE = P .. 'groups', P .. 'communities', P .. 'wake'
local LANES = {'interactive', 'service', 'batch'}
local call = redis.call
local clock = call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now = math.floor(now_us / 1000)

local function text(number) return string.format('%.17g', number) end
local function job_key(id) return P .. 'job:' .. id end
local function wake()
  if call('LLEN', WAKE) == 0 then call('RPUSH', WAKE, '1') end
end
local function first(key) return tonumber(call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) end
"""

CHARGE = """
local function charge(community, cost) return cost / (WEIGHTS[community] or 1) end
"""

READY = (
    CHARGE
    + """
local function count_waiting(community, by)
  call('HINCRBY', META, 'waiting', by)
  if tonumber(call('ZINCRBY', COMMUNITIES, by, community)) <= 0 then call('ZREM', COMMUNITIES, community) end
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
-- The next job of a conversation becomes ready when the one before it has left.
local function release(id, group)
  if group == '' or call('HGET', GROUPS, group) ~= id then return end
  local following = call('ZPOPMIN', P .. 'parked:' .. group)[1]
  if not following then call('HDEL', GROUPS, group) return end
  call('HSET', GROUPS, group, following)
  local job = call('HMGET', job_key(following), 'lane', 'community', 'cost', 'score')
  make_ready(following, job[1], job[2], job[3], job[4])
end
"""
)

# Says whether a job has to wait for another of its conversation; if not, the conversation is its own now.
ENTER = """
local function park(id, group)
  local owner = call('HGET', GROUPS, group)
  if owner and call('EXISTS', job_key(owner)) == 1 then
    call('ZADD', P .. 'parked:' .. group, call('HINCRBY', META, 'sequence', 1), id)
    return true
  end
  call('HSET', GROUPS, group, id)
  return false
end
"""

# Takes a job out of whichever waiting place it is in.
LEAVE = """
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
"""

FAILING = """
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
"""

HOLD = """
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
"""

# A lane's pace: starts, the ms they took and the virtual time they moved, over about the last twenty starts while
# something was left waiting; `at`: when it was taken from last, 0 if that emptied it; `width`: jobs running then.
PACE = """
local function read_pace(packed)
  local at, starts, ms, virtual, width = string.match(packed or '', '(%S+) (%S+) (%S+) (%S+) (%S+)')
  return {at = tonumber(at) or 0, starts = tonumber(starts) or 0, ms = tonumber(ms) or 0,
    virtual = tonumber(virtual) or 0, width = tonumber(width) or 0}
end
"""

# How long until the queue has moved by so many starts, or by so much virtual time, in ms.
EXPECTED = """
local function expected_ms(lane, jobs, virtual)
  local meta = call('HMGET', META, 'pace:' .. lane, 'service:' .. lane)
  local pace, leased = read_pace(meta[1]), call('ZCARD', LEASES)
  if pace.at == 0 then
    -- Nothing was left waiting when somebody last looked: what fits into the free slots starts at once.
    jobs = jobs - math.max(pace.width - leased, leased == 0 and 1 or 0)
    if jobs <= 0 then return 0 end
  end
  if pace.starts < 2 then return math.ceil(jobs * (meta[2] or 3000) / math.max(1, leased)) end
  -- The pause that lasts now counts as well, so that a standstill shows.
  local passed = pace.at > 0 and math.max(0, now - pace.at) or 0
  local slower = pace.ms > 0 and (pace.ms + passed) / pace.ms * pace.starts / (pace.starts + 1) or 1
  local wait = jobs * pace.ms / pace.starts
  if virtual and pace.virtual > 0 then
    -- Others' jobs that are yet to come will go before one that waits behind many of its own community: the further
    -- back by virtual time, the more of them. Half of what they would be if all went on as of late fits best.
    local by_tag = virtual * pace.ms / pace.virtual
    wait = wait + math.max(0, by_tag - wait) * virtual / (virtual + 5) / 2
  end
  return math.ceil(wait * math.max(1, slower))
end
"""

# {0} when there is room, else {1 in all | 2 of this community, waiting, ms until a quarter of them has left}
ADMIT = """
local function admission(community, lane, waiting, own)
  local share = lane == 'batch' and 0.5 or 1 -- a thousand documents must not turn the residents' questions away
  if waiting >= WAITING_MAX * share then return {1, waiting, expected_ms(lane, waiting / 4)} end
  if own >= COMMUNITY_MAX * share then return {2, own, expected_ms(lane, own / 4, charge(community, own / 4))} end
  return {0}
end
"""


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    sha: str


def compile_script(body: str, settings: Settings) -> Script:
    """The script with the limits of `settings` as constants; equal settings give equal scripts, loaded once."""

    def ms(seconds: float) -> int:
        return max(1, round(seconds * 1000))

    weights = ", ".join(f"['{UUID(key)}'] = {weight:f}" for key, weight in settings.community_weights.items())
    constants = (
        f"local LEASE_MS, RETRY_MS_MIN, RETRY_MS_MAX = "
        f"{ms(settings.lease_seconds)}, {ms(settings.retry_seconds_min)}, {ms(settings.retry_seconds_max)}\n"
        f"local ATTEMPTS_MAX, DEAD_MAX = {settings.job_attempts_max}, {settings.dead_jobs_max}\n"
        f"local WAITING_MAX, COMMUNITY_MAX = {settings.queue_waiting_max}, {settings.queue_waiting_per_community_max}\n"
        f"local WAIT_MS = {{service = {ms(settings.lane_service_wait_seconds)}, "
        f"batch = {ms(settings.lane_batch_wait_seconds)}}}\n"
        f"local WEIGHTS = {{{weights}}}\n"
    )
    text = constants + body
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
