namespace FedLearn.Coordination;

/// <summary>What the parties of a job must be like.</summary>
internal static class PartyList
{
    /// <summary>What is wrong with the parties of a job.</summary>
    /// <returns>The rest of a sentence about them; null when nothing is wrong.</returns>
    public static string? FaultOf(IEnumerable<PartyDescription> parties)
    {
        PartyDescription[] all = [.. parties];
        return all.Any(p => !Enum.IsDefined(p.Role)) || all.Count(p => p.Role == PartyRole.Active) != 1 ? "have not exactly one active party"
            : all.Any(p => string.IsNullOrWhiteSpace(p.Name)) ? "have an empty name"
            // A name becomes a file name, and a field of a message.
            : all.Any(p => p.Name.Length > 200 || p.Name.Any(c => char.IsControl(c) || c is '/' or '\\')) ? "have a name over 200 characters, with a slash or with a control character"
            : all.Select(p => p.Name).Distinct(StringComparer.Ordinal).Count() != all.Length ? "have two of the same name" : null;
    }
}
