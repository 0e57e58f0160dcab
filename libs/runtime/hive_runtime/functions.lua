#!lua name=hive
-- Server-side functions, Redis 7.0 semantics. They run with the caller's rights.
--
-- hive_deliver  KEYS inbox, dedup   ARGV ttl_s, field, value, ...
--   inbox  stream  the recipient's; one entry is added unless dedup exists
--   dedup  string  id of the entry that this key already made; expires after ttl_s
--   returns {entry id, 1 when this call added it, else 0}
-- hive_ack      KEYS inbox, state   ARGV group, lease, id, ...
--   inbox  stream  the ids are acknowledged and deleted (the inbox has one group)
--   state  hash    field `lease` names the owner; another value refuses the call
--   returns the number acknowledged

local function deliver(keys, args)
  local known = redis.call('GET', keys[2])
  if known then
    return {known, 0}
  end
  local entry = {}
  for index = 2, #args do
    entry[#entry + 1] = args[index]
  end
  local id = redis.call('XADD', keys[1], '*', unpack(entry))
  redis.call('SET', keys[2], id, 'EX', args[1])
  return {id, 1}
end

local function ack(keys, args)
  if redis.call('HGET', keys[2], 'lease') ~= args[2] then
    return redis.error_reply('FENCED another harness owns this inbox')
  end
  local ids = {}
  for index = 3, #args do
    ids[#ids + 1] = args[index]
  end
  local acked = redis.call('XACK', keys[1], args[1], unpack(ids))
  redis.call('XDEL', keys[1], unpack(ids))
  return acked
end

redis.register_function('hive_deliver', deliver)
-- A full server must still let its inboxes be emptied.
redis.register_function{function_name = 'hive_ack', callback = ack, flags = {'allow-oom'}}
