using FedLearn.Diagnostics;

namespace FedLearn.Cli.RunFiles;

/// <summary>A grid of settings as the command line has it: <c>model.l2=0.1,0.01;model.l1=0,0.001</c>.</summary>
internal static class SettingGrid
{
    /// <summary>Most candidates of one grid.</summary>
    public const int MostCandidates = 100;

    private const string Option = "--grid";

    private static readonly string[] Sections = ["model", "training", "training.earlyStopping", "preprocessing", "privacy.oneRound"];

    // Not in a grid: objects and paths, and keys that change what is compared (the labels' scale, the folds, the start).
    private static readonly string[] Fixed = ["model.type", "model.family", "model.classes", "model.power", "training.seed", "training.warmStart", "training.momentum", "training.earlyStopping"];

    /// <summary>Keys that a grid may have.</summary>
    public static IReadOnlyList<string> Keys { get; } = [.. Sections.SelectMany(section => RunFileKeys.Job[section].Select(key => $"{section}.{key}")).Except(Fixed)];

    /// <summary>Every combination of the values, the first key's changing slowest.</summary>
    /// <param name="text">The grid; null for one candidate with no settings.</param>
    /// <exception cref="ConfigurationException">FL2170: it is no grid; FL2171: a key that a grid may not have; FL2172: too many combinations.</exception>
    public static IReadOnlyList<IReadOnlyList<RunFileSetting>> Read(string? text)
    {
        IReadOnlyList<IReadOnlyList<RunFileSetting>> candidates = [[]];
        var seen = new HashSet<string>();
        foreach (string part in text?.Split(';', StringSplitOptions.TrimEntries) ?? [])
        {
            string[] sides = part.Split('=', StringSplitOptions.TrimEntries);
            string[] values = sides.Length == 2 ? sides[1].Split(',', StringSplitOptions.TrimEntries) : [];
            if (values.Length == 0 || values.Contains("") || !seen.Add(sides[0]))
                throw Refused(TuningErrors.NoGrid, "it is not keys with values, each key once.", "Write KEY=VALUE,VALUE;KEY=VALUE, such as \"model.l2=0.1,0.01;model.l1=0,0.001\".");
            if (!Keys.Contains(sides[0]))
                throw Refused(TuningErrors.UnknownGridKey, $"'{sides[0]}' is no key that a grid may have.", RunFileKeys.Meant(sides[0], Keys) is { } meant ? $"Did you mean '{meant}'?" : $"It may have {string.Join(", ", Keys)}.");
            if ((long)candidates.Count * values.Length > MostCandidates)
                throw Refused(TuningErrors.GridTooLarge, $"it has more than {MostCandidates} combinations.", "Try fewer values; each candidate is trained once for every fold.");
            candidates = [.. candidates.SelectMany(c => values.Select(value => (IReadOnlyList<RunFileSetting>)[.. c, new RunFileSetting(sides[0], value) { Option = Option }]))];
        }

        return candidates;
    }

    private static ConfigurationException Refused(string id, string cause, string remedy) => new(id, Option, cause, remedy);
}
