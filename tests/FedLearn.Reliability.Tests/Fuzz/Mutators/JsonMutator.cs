using System.Text;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>Changes JSON by its structure: values of other types, keys twice or not at all, depth, texts and numbers at the ends of what can be written.</summary>
/// <param name="seeds">Legal documents, whose keys, words and parts are used again elsewhere.</param>
internal sealed class JsonMutator(IReadOnlyList<byte[]> seeds)
{
    private static readonly string[] Values =
    [
        "null", "true", "false", "0", "-0", "1", "-1", "2", "3", "0.5", "1e-400", "5e-324", "1e308", "1e999", "-1e999", "2147483647", "2147483648", "-2147483649", "4294967296", "9007199254740993",
        "9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551616", "1E+2", "0.1000000000000000055511151231257827021181583404541015625", "1e1000000000", "NaN", "Infinity",
        "\"\"", "\" \"", "\"NaN\"", "\"Infinity\"", "\"1\"", "\"true\"", "\"null\"", "\"a\\u0000b\"", "\"\\u0000\"", "\"\\ud800\"", "\"\\udc00\\ud800\"", "\"x\\ud83d\"", "\"\\u001f\"", "\"\\n\\r\\t\"", "\"\\uFEFF\"",
        "\"../../../../etc/passwd\"", "\"/dev/null\"", "\"/\"", "\".\"", "\"C:\\\\con\\\\\"", "\"file:///etc/passwd\"", "\"~\"", "\"a/../b\"", "\"%00\"", "\"http://127.0.0.1:0\"", "\"http://[::1]:99999\"", "\"http://x:1/y?z\"",
        "\"e\\u0301\"", "\"\\u0301\\u0327\\u0301\"", "\"\\uac00\\u11a7\"", "\"ß\"", "\"İ\"", "\"𝕏\"", "\"<script>\"", "\"{0}\"", "\"%s\"", "\"$type\"", "[]", "{}", "[[]]", "[null]", "[0,0]", "[1,0]", "{\"\":0}", "[1e999]", "\"AA==\"", "\"A\"",
    ];

    private static readonly string[] Keys = ["\"\"", "\"\\ud800\"", "\"\\u0000\"", "\"$schema\"", "\"$type\"", "\"$ref\"", "\"__proto__\"", "\"constructor\"", "\"a.b\"", "\"[0]\"", "\"id\"", "\"ID\"", "\"\\u0069d\"", "\" id\""];

    private readonly JsonTree[] _trees = [.. seeds.Select(seed => JsonTree.Parse(seed))];

    private readonly byte[][] _keys = [.. seeds.SelectMany(seed => JsonTree.Parse(seed).All()).SelectMany(place => place.Node.Keys ?? []).DistinctBy(Encoding.UTF8.GetString)];

    private readonly byte[][] _words = [.. seeds.SelectMany(seed => JsonTree.Parse(seed).All()).Select(place => place.Node.Token!).Where(token => token is not null).DistinctBy(Encoding.UTF8.GetString)];

    /// <summary>A changed document; one in eight is changed as bytes instead.</summary>
    public byte[] Mutate(FuzzRandom random) => random.OneIn(8) ? ByteMutator.Mutate(random, random.Of(seeds), seeds) : MutateTree(random).ToBytes();

    /// <summary>A changed document whose structure is known.</summary>
    public JsonTree MutateTree(FuzzRandom random)
    {
        JsonTree root = random.Of(_trees).Copy();
        for (int changes = random.OneIn(3) ? random.Between(2, 6) : 1; changes > 0; changes--)
            root = Change(random, root);
        return root;
    }

    private JsonTree Change(FuzzRandom random, JsonTree root)
    {
        (JsonTree node, JsonTree? parent, int place)[] all = [.. root.All()];
        (JsonTree node, JsonTree? parent, int place) = random.Of(all);
        switch (random.Below(13))
        {
            case 0 or 1 or 2:
                return Put(Value(random));
            case 3:
                return Put(Retyped(random, node));
            case 4 when node.Keys is { Count: > 0 } keys:                          // a key twice
                int twice = random.Below(keys.Count);
                node.Keys.Insert(random.Below(keys.Count + 1), keys[twice]);
                node.Items!.Insert(random.Below(node.Items.Count + 1), random.OneIn(2) ? node.Items[twice].Copy() : Value(random));
                return root;
            case 5 when node.Keys is { Count: > 0 } keys:                          // another key
                keys[random.Below(keys.Count)] = Key(random, keys);
                return root;
            case 6 when node.Keys is not null:                                      // one more
                node.Keys.Add(Key(random, node.Keys));
                node.Items!.Add(Value(random));
                return root;
            case 7 when node.Items is { Count: > 0 }:                               // one less
                int gone = random.Below(node.Items.Count);
                node.Items.RemoveAt(gone);
                node.Keys?.RemoveAt(gone);
                return root;
            case 8:                                                                 // a part of this or another document in its place
                return Put(random.Of([.. random.Of(_trees).All()]).Node.Copy());
            case 9 when node.Items is { Count: > 0 } && node.Keys is null:          // many of the same
                JsonTree one = random.Of(node.Items);
                for (int copies = random.Spread(random.OneIn(20) ? 2000 : 50); copies > 0; copies--)
                    node.Items.Add(one.Copy());
                return root;
            case 10:                                                                // deep
                return Put(Deep(random, node));
            case 11 when all.Length > 1:                                            // two parts change places
                (JsonTree other, JsonTree? otherParent, int otherPlace) = random.Of(all);
                if (parent is not null && otherParent is not null)
                    (parent.Items![place], otherParent.Items![otherPlace]) = (other.Copy(), node.Copy());
                return root;
            default:
                return Put(new JsonTree { Token = random.Of(_words) });
        }

        JsonTree Put(JsonTree value)
        {
            if (parent is null)
                return random.OneIn(4) ? value : root;                              // the whole document: not often
            parent.Items![place] = value;
            return root;
        }
    }

    private JsonTree Value(FuzzRandom random) => random.Below(12) switch
    {
        0 => JsonTree.Of($"\"{new string(random.Of("ax -\u00e9\u0301\u4e00"), random.Spread(random.OneIn(20) ? 100_000 : 300))}\""),
        1 => new JsonTree { Token = [(byte)'"', .. Enumerable.Range(0, random.Spread(12)).Select(_ => (byte)(random.Byte() | 0x80)), (byte)'"'] },
        2 => new JsonTree { Token = random.Of(_words) },
        3 => JsonTree.Of($"{(random.OneIn(2) ? "-" : "")}{random.Next() >> random.Below(64)}{(random.OneIn(3) ? $".{random.Next()}" : "")}{(random.OneIn(3) ? $"e{random.Between(-400, 400)}" : "")}"),
        _ => JsonTree.Of(random.Of(Values)),
    };

    /// <summary>A part inside so many others that only bytes, and no tree of ours, can hold them.</summary>
    private JsonTree Deep(FuzzRandom random, JsonTree node)
    {
        var before = new List<byte>();
        var after = new List<byte>();
        for (int depth = random.Spread(random.OneIn(10) ? 20_000 : 100); depth > 0; depth--)
        {
            bool array = random.OneIn(2);
            before.AddRange(array ? "["u8 : [(byte)'{', .. random.OneIn(10) ? Key(random, []) : "\"a\""u8, (byte)':']);
            after.Add(array ? (byte)']' : (byte)'}');
        }

        after.Reverse();
        return new JsonTree { Token = [.. before, .. node.ToBytes(), .. after] };
    }

    private static JsonTree Retyped(FuzzRandom random, JsonTree node) => node switch
    {
        { Items: not null } => random.OneIn(2) ? new JsonTree { Items = node.Items, Keys = node.Keys is null ? [.. node.Items.Select((_, i) => Encoding.ASCII.GetBytes($"\"{i}\""))] : null }
            : JsonTree.Of("\"\""),
        { Token: [(byte)'"', .. var inside, (byte)'"'] } => random.OneIn(2) ? new JsonTree { Token = inside.Length > 0 ? inside : "0"u8.ToArray() } : new JsonTree { Items = [node.Copy()] },
        _ => random.OneIn(2) ? new JsonTree { Token = [(byte)'"', .. node.Token!, (byte)'"'] } : new JsonTree { Items = [node.Copy()] },
    };

    private byte[] Key(FuzzRandom random, List<byte[]> own)
    {
        if (random.OneIn(3))
            return Encoding.UTF8.GetBytes(random.Of(Keys));
        byte[] key = [.. own.Count > 0 && random.OneIn(2) ? random.Of(own) : random.Of(_keys)];
        if (key.Length > 3 && random.OneIn(3))
            key[random.Between(1, key.Length - 2)] = (byte)random.Of("aeXz_0");      // a typing error
        return key;
    }
}
