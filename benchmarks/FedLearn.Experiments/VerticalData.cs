using FedLearn.Data;
using FedLearn.Glm;
using FedLearn.Numerics;

namespace FedLearn.Experiments;

/// <summary>A vertically split data set of the shared data folder, in memory. See the README beside the data.</summary>
internal sealed class VerticalData
{
    private readonly string _split;

    private VerticalData(string name, Table guest, Table host, string split)
    {
        (Name, Guest, Host, _split) = (name, guest, host, split);
        CommonGuest = Common(guest, host);
    }

    public string Name { get; }

    /// <summary>The active party's rows, with labels.</summary>
    public Table Guest { get; }

    /// <summary>The passive party's rows.</summary>
    public Table Host { get; }

    /// <summary>The active party's rows that the passive party has too: what a model of the active party alone is compared on.</summary>
    public Table CommonGuest { get; }

    /// <summary>Reads adult, credit, breast ...</summary>
    public static VerticalData Load(string name, CancellationToken cancellationToken)
    {
        string folder = Path.Combine(Environment.GetEnvironmentVariable("FEDLEARN_DATA") ?? Path.Combine(Verbs.Repository(), "..", "shared", "data"), name);
        if (!Directory.Exists(folder))
            throw new DirectoryNotFoundException($"There is no data set '{name}' where the data is looked for. "
                + "Let the environment variable FEDLEARN_DATA name the folder that holds adult, credit and the other data sets.");
        Table Read(string party, bool label) => Table.Load(new TableSource
        {
            Path = Path.Combine(folder, party + ".csv"),
            Schema = Path.Combine(folder, party + ".schema.json"),
            Label = label ? "y" : null,
        }, label, cancellationToken);
        return new VerticalData(name, Read("guest", true), Read("host", false), Path.Combine(folder, "split.csv"));
    }

    /// <summary>What the parties of a job bring: guest and host, or the guest alone.</summary>
    public IReadOnlyList<GlmPartyInput> Inputs(bool joint) => joint
        ? [Input("guest", Guest), Input("host", Host)]
        : [Input("guest", CommonGuest)];

    private GlmPartyInput Input(string party, Table table) => new() { Party = party, Table = table, SplitFile = _split };

    // The split lists common rows only, and refuses a row it does not list.
    private static Table Common(Table guest, Table host)
    {
        HashSet<string> theirs = [.. host.Ids];
        int[] rows = [.. Enumerable.Range(0, guest.Ids.Count).Where(i => theirs.Contains(guest.Ids[i]))];
        var values = new DenseMatrix(rows.Length, guest.Values.Columns);
        for (int i = 0; i < rows.Length; i++)
            guest.Values.Row(rows[i]).CopyTo(values.Row(i));
        return Table.FromMatrix([.. rows.Select(i => guest.Ids[i])], guest.Schema.FeatureNames, values, [.. rows.Select(i => guest.Labels![i])], guest.Schema);
    }
}
