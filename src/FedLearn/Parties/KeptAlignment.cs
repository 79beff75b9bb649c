using FedLearn.Coordination;

namespace FedLearn.Parties;

/// <summary>Common rows, and what finding them told, in a run's state.</summary>
internal static class KeptAlignment
{
    public static void Save(this AlignedRows aligned, StateWriter state, string name) =>
        state.Add(name + ".common", aligned.Rows).Add(name + ".leaks", Lines(aligned.Leaks)).Add(name + ".warnings", Lines(aligned.Warnings));

    public static AlignedRows Load(StateReader state, string name) =>
        new(state.Integers(name + ".common"), Texts(state.Text(name + ".leaks")), Texts(state.Text(name + ".warnings")));

    private static string Lines(IReadOnlyList<string> texts) => string.Join('\n', texts);

    private static string[] Texts(string lines) => lines.Split('\n', StringSplitOptions.RemoveEmptyEntries);
}
