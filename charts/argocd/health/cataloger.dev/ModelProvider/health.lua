-- What Argo CD makes of a ModelProvider.
--
-- Degraded: nobody can use it before somebody mends it. Suspended: its budget is used up, as was asked for, until the
-- next day or month. Progressing: it is looked at, or waits for its key. Healthy: it can be used.

local status = obj.status
if status == nil or status.conditions == nil then
  return {status = "Progressing", message = "the operator has not looked at it yet"}
end
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not looked at its last change yet"}
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end
local function holds(name)
  return conditions[name] ~= nil and conditions[name].status == "True"
end
-- All its conditions have the same reason and message.
local ready = conditions.Ready or {}
local message = (ready.reason or "Pending") .. ": " .. (ready.message or "")

if holds("Stalled") then
  return {status = "Degraded", message = message}
end
if holds("Reconciling") then
  return {status = "Progressing", message = message}
end
if holds("Ready") then
  return {status = "Healthy", message = ready.message}
end
if ready.reason == "BudgetUsedUp" then
  return {status = "Suspended", message = ready.message}
end
return {status = "Progressing", message = message}
